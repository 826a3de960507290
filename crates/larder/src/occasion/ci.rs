//! What a CI's own variables say. Pure.
//!
//! Sources: the lists of predefined variables of GitHub Actions (which Gitea's and Forgejo's
//! runners share), GitLab CI/CD, Jenkins (the branch source plugin's) and Woodpecker.

use super::Occasion;

/// Looks a variable up; `None` for one that is empty.
pub(super) type Get<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// What is built, where a CI that is known says so.
pub(super) fn occasion(get: Get<'_>) -> Option<Occasion> {
    let is_set = |name: &str| get(name).is_some_and(|value| value != "false");
    if is_set("GITHUB_ACTIONS") || is_set("GITEA_ACTIONS") || is_set("FORGEJO_ACTIONS") {
        Some(actions(get))
    } else if is_set("GITLAB_CI") {
        Some(gitlab(get))
    } else if get("CI_SYSTEM_NAME") == Some("woodpecker") || get("CI") == Some("woodpecker") {
        Some(woodpecker(get))
    } else if is_set("JENKINS_URL") {
        Some(jenkins(get))
    } else {
        None
    }
}

/// With the branch and the tag left out where a pull request is built: its author names its branch.
fn of(event: &str, branch: Option<&str>, tag: Option<&str>, sha: Option<&str>) -> Occasion {
    let is_foreign = event == "pull_request";
    let own = |value: Option<&str>| value.filter(|_| !is_foreign).map(str::to_owned);
    let tag = own(tag);
    let branch = own(branch).filter(|_| tag.is_none());
    let sha = sha.map(str::to_owned);
    Occasion { event: Some(event.to_owned()), branch, tag, sha, ..Occasion::default() }
}

fn actions(get: Get<'_>) -> Occasion {
    let event = get("GITHUB_EVENT_NAME").unwrap_or("push");
    let event = match event {
        // Whatever it runs on, somebody else's pull request led to it.
        _ if event.starts_with("pull_request") => "pull_request",
        "workflow_dispatch" | "repository_dispatch" => "manual",
        other => other,
    };
    let name = get("GITHUB_REF_NAME");
    let is_tag = get("GITHUB_REF_TYPE") == Some("tag")
        || get("GITHUB_REF").is_some_and(|name| name.starts_with("refs/tags/"));
    let is_branch = !is_tag && get("GITHUB_REF").is_none_or(|name| name.starts_with("refs/heads/"));
    let (branch, tag) = (name.filter(|_| is_branch), name.filter(|_| is_tag));
    of(event, branch, tag, get("GITHUB_SHA"))
}

fn gitlab(get: Get<'_>) -> Occasion {
    let event = match get("CI_PIPELINE_SOURCE").unwrap_or("push") {
        "merge_request_event" | "external_pull_request_event" => "pull_request",
        "web" | "api" | "trigger" | "chat" => "manual",
        // A pipeline that another one started may be a merge request's, too.
        _ if get("CI_MERGE_REQUEST_IID").is_some() => "pull_request",
        other => other,
    };
    of(event, get("CI_COMMIT_BRANCH"), get("CI_COMMIT_TAG"), get("CI_COMMIT_SHA"))
}

fn woodpecker(get: Get<'_>) -> Occasion {
    let event = match get("CI_PIPELINE_EVENT").or_else(|| get("CI_BUILD_EVENT")).unwrap_or("push") {
        "pull_request" | "pull_request_closed" | "pull_request_metadata" => "pull_request",
        "tag" => "push",
        "cron" => "schedule",
        other => other,
    };
    of(event, get("CI_COMMIT_BRANCH"), get("CI_COMMIT_TAG"), get("CI_COMMIT_SHA"))
}

fn jenkins(get: Get<'_>) -> Occasion {
    let event = if get("CHANGE_ID").is_some() { "pull_request" } else { "push" };
    let plain = get("GIT_BRANCH").map(|branch| branch.strip_prefix("origin/").unwrap_or(branch));
    of(event, get("BRANCH_NAME").or(plain), get("TAG_NAME"), get("GIT_COMMIT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(variables: &str, event: &str, branch: Option<&str>, tag: Option<&str>) {
        let get = |name: &str| {
            let pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
        };
        let said = occasion(&get).expect("a CI");
        let found = (said.event.as_deref(), said.branch.as_deref(), said.tag.as_deref());
        assert_eq!(found, (Some(event), branch, tag), "{variables}");
    }

    #[test]
    fn github_and_its_like() {
        let all = "GITHUB_ACTIONS=true GITHUB_SHA=0";
        let says = |more: &str, event, branch, tag| says(&format!("{all} {more}"), event, branch, tag);
        says(
            "GITHUB_EVENT_NAME=push GITHUB_REF_TYPE=branch GITHUB_REF=refs/heads/dev GITHUB_REF_NAME=dev",
            "push",
            Some("dev"),
            None,
        );
        says(
            "GITHUB_EVENT_NAME=push GITHUB_REF_TYPE=tag GITHUB_REF=refs/tags/v1.0.0 GITHUB_REF_NAME=v1.0.0",
            "push",
            None,
            Some("v1.0.0"),
        );
        // The branch of a pull request may be called like one that is trusted.
        says(
            "GITHUB_EVENT_NAME=pull_request GITHUB_REF=refs/pull/2/merge GITHUB_REF_NAME=2/merge GITHUB_HEAD_REF=dev",
            "pull_request",
            None,
            None,
        );
        says(
            "GITHUB_EVENT_NAME=pull_request_target GITHUB_REF=refs/heads/main GITHUB_REF_NAME=main",
            "pull_request",
            None,
            None,
        );
        says("GITHUB_EVENT_NAME=schedule GITHUB_REF_NAME=main", "schedule", Some("main"), None);
        says("GITHUB_EVENT_NAME=workflow_dispatch GITHUB_REF_NAME=main", "manual", Some("main"), None);
        says(
            "GITEA_ACTIONS=true GITHUB_EVENT_NAME=release GITHUB_REF=refs/tags/v2 GITHUB_REF_NAME=v2",
            "release",
            None,
            Some("v2"),
        );
    }

    #[test]
    fn gitlab_says_branch_or_tag() {
        says("GITLAB_CI=true CI_PIPELINE_SOURCE=push CI_COMMIT_BRANCH=dev", "push", Some("dev"), None);
        says("GITLAB_CI=true CI_PIPELINE_SOURCE=push CI_COMMIT_TAG=v1.0.0", "push", None, Some("v1.0.0"));
        says("GITLAB_CI=true CI_PIPELINE_SOURCE=merge_request_event", "pull_request", None, None);
        says(
            "GITLAB_CI=true CI_PIPELINE_SOURCE=parent_pipeline CI_MERGE_REQUEST_IID=3 CI_COMMIT_BRANCH=dev",
            "pull_request",
            None,
            None,
        );
        says(
            "GITLAB_CI=true CI_PIPELINE_SOURCE=schedule CI_COMMIT_BRANCH=dev",
            "schedule",
            Some("dev"),
            None,
        );
    }

    #[test]
    fn jenkins_and_woodpecker() {
        says("JENKINS_URL=x BRANCH_NAME=dev", "push", Some("dev"), None);
        says("JENKINS_URL=x GIT_BRANCH=origin/dev", "push", Some("dev"), None);
        says("JENKINS_URL=x BRANCH_NAME=v1.0.0 TAG_NAME=v1.0.0", "push", None, Some("v1.0.0"));
        says("JENKINS_URL=x BRANCH_NAME=PR-7 CHANGE_ID=7", "pull_request", None, None);
        let own = "CI=woodpecker CI_COMMIT_BRANCH=main";
        says(&format!("{own} CI_PIPELINE_EVENT=push"), "push", Some("main"), None);
        says(&format!("{own} CI_PIPELINE_EVENT=pull_request"), "pull_request", None, None);
        says("CI=woodpecker CI_PIPELINE_EVENT=tag CI_COMMIT_TAG=v1.0.0", "push", None, Some("v1.0.0"));
        says(&format!("{own} CI_PIPELINE_EVENT=cron"), "schedule", Some("main"), None);
    }

    #[test]
    fn another_ci_says_nothing() {
        for variable in ["CI", "TRAVIS"] {
            assert_eq!(occasion(&|name: &str| (name == variable).then_some("true")), None);
        }
    }
}
