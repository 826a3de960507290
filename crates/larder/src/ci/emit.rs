//! A workflow for a CI that calls the same commands.
//!
//! Images go over several jobs only where a tier carries them from one to the next: a job for each
//! wave, those of one wave side by side. What all others are built from is in one wave alone. These
//! jobs do nothing but fill the tiers: names in registries are the last job's to give, after all
//! steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::writers::{Writes, writes_to};
use crate::config::Project;
use crate::config::image::Secret;
use crate::config::tiers::tier::{Login, Place};
use crate::process::command::quoted;

/// Which CI a workflow is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// GitHub Actions, and what reads its workflows.
    GitHub,
    /// GitLab CI/CD.
    GitLab,
}

/// What a workflow is written from.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// The images of each wave; one job bakes all where there is one wave, or none.
    pub(super) waves: Vec<Vec<String>>,
    /// On which builds the waves are worth a job.
    pub(super) writes: Writes,
    /// The variables that steps need.
    pub(super) secrets: Vec<String>,
    /// Those that builds, tiers and signatures need, and on which builds each may be seen.
    pub(super) keys: Keys,
    /// The registries that jobs log in to: each host, and the variables.
    pub(super) logins: Vec<(String, Login)>,
}

/// Variables by name, with the builds that have them.
pub(super) type Keys = BTreeMap<String, Writes>;

impl Work {
    /// Adds what the jobs need that bake: what the file names, and where a bucket or a signature is
    /// named, the variables that imgtar takes for it. A build that does not write a tier gets
    /// neither its login nor the key that signs for it.
    pub(super) fn add_keys(&mut self, forge: Forge, project: &Project) {
        let builds = project.images.iter().filter_map(|image| image.as_build());
        for secret in builds.flat_map(|build| build.secrets.values()) {
            if let Secret::Variable(name) = secret {
                self.keys.insert(name.clone(), Writes::Always);
            }
        }
        for tier in &project.tiers {
            let writes = writes_to(forge, &project.profiles, &tier.name);
            if writes == Writes::Never {
                continue;
            }
            let mut names = Vec::new();
            match (&tier.place, &tier.login) {
                (Place::Registry(repository), Some(login)) => {
                    let host = repository.split('/').next().unwrap_or_default().to_owned();
                    names.extend([login.user.clone(), login.password.clone()]);
                    let one = (host, login.clone());
                    if !self.logins.contains(&one) {
                        self.logins.push(one);
                    }
                }
                (Place::S3(_), _) => names.extend(BUCKET.map(str::to_owned)),
                _ => {}
            }
            if !tier.signed_by.is_empty() {
                names.push(SIGNING.to_owned());
            }
            for name in names {
                let before = self.keys.remove(&name).unwrap_or_default();
                self.keys.insert(name, before.or(writes.clone()));
            }
        }
    }

    /// The lines of a shell that log in; a build that has not got the variables does not.
    fn login_lines(&self) -> impl Iterator<Item = (&Login, String)> {
        self.logins.iter().map(|(host, login)| {
            let Login { user, password } = login;
            let host = quoted(host);
            (login, format!("test -z \"${password}\" || printf %s \"${password}\" | docker login {host} --username \"${user}\" --password-stdin"))
        })
    }

    /// The variable as GitHub gives it to a step: an empty text where the build may not see it.
    fn github_value(&self, name: &str) -> String {
        let secret = format!("secrets.{name}");
        match self.keys.get(name).filter(|_| !self.secrets.iter().any(|own| own == name)) {
            Some(Writes::Where(condition)) => {
                let value = format!("${{{{ ({condition}) && {secret} || '' }}}}");
                serde_json::Value::from(value).to_string()
            }
            _ => format!("${{{{ {secret} }}}}"),
        }
    }

    /// The steps of GitHub's that log in.
    fn github_logins(&self) -> String {
        let step = |(login, line): (&Login, String)| {
            format!("      - run: {line}\n{}", self.github_env([&login.user, &login.password].into_iter()))
        };
        self.login_lines().map(step).collect()
    }

    /// The `env` of a step of GitHub's.
    fn github_env<'n>(&self, names: impl Iterator<Item = &'n String>) -> String {
        let lines = names.map(|name| format!("          {name}: {}\n", self.github_value(name)));
        let lines = lines.collect::<Vec<_>>().concat();
        if lines.is_empty() { lines } else { format!("        env:\n{lines}") }
    }

    /// The variables of a step that bakes: those of logins were used before.
    fn baking(&self) -> impl Iterator<Item = &String> {
        let is_login = |name: &String| {
            self.logins.iter().any(|(_, login)| [&login.user, &login.password].contains(&name))
        };
        self.keys.keys().filter(move |name| !is_login(name))
    }

    /// The waves that have jobs of their own: none where no tier carries their images on.
    fn jobs(&self) -> &[Vec<String>] {
        if self.waves.len() > 1 && self.writes != Writes::Never { &self.waves } else { &[] }
    }

    /// The condition for the waves' jobs, as a text of YAML.
    fn condition(&self) -> Option<String> {
        match &self.writes {
            // JSON's strings are YAML's.
            Writes::Where(condition) => Some(serde_json::Value::from(condition.as_str()).to_string()),
            Writes::Always | Writes::Never => None,
        }
    }
}

/// The variables that imgtar takes for a bucket, and for signatures.
const BUCKET: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
const SIGNING: &str = "LARDER_SIGNING_KEY";

const HEAD: &str = "# Written by `larder ci --emit`; run it again when larder.toml has changed.\n";

/// What GitLab's jobs run in: one with glibc, which the tools need and docker's own images lack,
/// with pip, and with docker's client to be had from its distribution (Debian from 13 on).
const GITLAB_IMAGE: &str = "python:3-slim";

/// The workflow's text.
pub(super) fn workflow(forge: Forge, work: &Work) -> String {
    match forge {
        Forge::GitHub => github(work),
        Forge::GitLab => gitlab(work),
    }
}

fn github(work: &Work) -> String {
    let mut text = format!("{HEAD}name: larder\non: [push, pull_request]\n\njobs:\n");
    let mut before = None;
    for (at, images) in work.jobs().iter().enumerate() {
        let name = format!("wave-{}", at + 1);
        // A string is never too long to be written.
        let _ = writeln!(text, "  {name}:");
        let _ = before.iter().try_for_each(|before| writeln!(text, "    needs: {before}"));
        let _ = work.condition().iter().try_for_each(|only| writeln!(text, "    if: {only}"));
        let _ = write!(
            text,
            "    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n        image: [{}]\n",
            list(images)
        );
        text.push_str(&github_steps(
            "larder bake --to-tiers --summary \"$GITHUB_STEP_SUMMARY\" '${{ matrix.image }}'",
            work,
            work.baking(),
        ));
        before = Some(name);
    }
    text.push_str("  ci:\n");
    let _ = before.iter().try_for_each(|before| writeln!(text, "    needs: {before}"));
    if before.is_some() && work.condition().is_some() {
        // A job whose needs are left out is left out, too, unless it says otherwise.
        text.push_str("    if: ${{ !failure() && !cancelled() }}\n");
    }
    text.push_str("    runs-on: ubuntu-latest\n");
    let names: BTreeSet<_> = work.baking().chain(&work.secrets).collect();
    text.push_str(&github_steps("larder ci --annotate", work, names.into_iter()));
    text
}

fn github_steps<'n>(run: &str, work: &Work, names: impl Iterator<Item = &'n String>) -> String {
    format!(
        "    steps:\n      - uses: actions/checkout@v4\n        with:\n          fetch-depth: 0\n      - run: pip install larder-tools\n{}      - run: {run}\n{}",
        work.github_logins(),
        work.github_env(names)
    )
}

fn gitlab(work: &Work) -> String {
    let mut text = format!(
        "{HEAD}default:\n  image: {GITLAB_IMAGE}\n  services: [docker:dind]\n  before_script:\n    - apt-get update && apt-get install --yes --no-install-recommends docker-cli git\n    - pip install larder-tools\n\nvariables:\n  GIT_DEPTH: 0\n  DOCKER_HOST: tcp://docker:2376\n  DOCKER_TLS_VERIFY: 1\n  DOCKER_TLS_CERTDIR: /certs\n  DOCKER_CERT_PATH: /certs/client\n"
    );
    // The variables themselves are the project's: GitLab gives them to all jobs, and those that are
    // protected to protected branches and tags alone.
    let logins = work.login_lines().map(|(_, line)| format!("    - {line}\n")).collect::<Vec<_>>().concat();
    let stages: Vec<_> = (1..=work.jobs().len()).map(|at| format!("wave-{at}")).collect();
    if !stages.is_empty() {
        let _ = write!(text, "\nstages: [{}, ci]\n", stages.join(", "));
    }
    for (name, images) in stages.iter().zip(work.jobs()) {
        let _ = writeln!(text, "\n{name}:\n  stage: {name}");
        let _ = work.condition().iter().try_for_each(|only| writeln!(text, "  rules:\n    - if: {only}"));
        let _ = write!(
            text,
            "  parallel:\n    matrix:\n      - IMAGE: [{}]\n  script:\n{logins}    - larder bake --to-tiers \"$IMAGE\"\n",
            list(images)
        );
    }
    text.push_str("\nci:\n");
    if !stages.is_empty() {
        text.push_str("  stage: ci\n");
    }
    let _ = write!(
        text,
        "  script:\n{logins}    - larder ci --junit larder-ci.xml\n  artifacts:\n    when: always\n    reports:\n      junit: larder-ci.xml\n"
    );
    text
}

/// The names in a list of YAML.
fn list(names: &[String]) -> String {
    // JSON's strings are YAML's.
    let quoted = names.iter().map(|name| serde_json::Value::from(name.as_str()).to_string());
    quoted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let waves = vec![names(&["base"]), names(&["app", "web\"x"])];
        Work { waves, writes: Writes::Always, secrets: names(&["TOKEN"]), ..Work::default() }
    }

    #[track_caller]
    fn has(text: &str, parts: &[&str]) {
        let mut rest = text;
        for part in parts {
            let (_, behind) = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in {text}"));
            rest = behind;
        }
    }

    #[test]
    fn the_shared_base_is_in_one_wave_alone() {
        let text = workflow(Forge::GitHub, &work());
        has(
            &text,
            &[
                "\n  wave-1:\n    runs-on:",
                "image: [\"base\"]\n",
                "\n  wave-2:\n    needs: wave-1\n",
                "image: [\"app\", \"web\\\"x\"]\n",
                "\n  ci:\n    needs: wave-2\n",
                "run: larder ci --annotate\n        env:\n          TOKEN: ${{ secrets.TOKEN }}\n",
            ],
        );
        assert_eq!(text.matches("base").count(), 1, "{text}");
        let text = workflow(Forge::GitLab, &work());
        has(
            &text,
            &[
                "stages: [wave-1, wave-2, ci]\n",
                "\nwave-1:\n  stage: wave-1\n",
                "- IMAGE: [\"base\"]\n",
                "- IMAGE: [\"app\", \"web\\\"x\"]\n",
                "\nci:\n  stage: ci\n",
            ],
        );
    }

    #[test]
    fn waves_only_fill_the_tiers() {
        for forge in [Forge::GitHub, Forge::GitLab] {
            let text = workflow(forge, &work());
            let bakes: Vec<_> = text.lines().filter(|line| line.contains("larder bake")).collect();
            assert_eq!(bakes.len(), 2, "{text}");
            assert!(bakes.iter().all(|line| line.contains("larder bake --to-tiers ")), "{text}");
        }
    }

    #[test]
    fn waves_are_left_out_where_no_tier_is_written() {
        let only = |condition: &str| Work { writes: Writes::Where(condition.into()), ..work() };
        let text = workflow(Forge::GitHub, &only("a == 'b' || c"));
        has(
            &text,
            &[
                "\n  wave-1:\n    if: \"a == 'b' || c\"\n",
                "\n  wave-2:\n    needs: wave-1\n    if: \"a == 'b' || c\"\n",
                "\n  ci:\n    needs: wave-2\n    if: ${{ !failure() && !cancelled() }}\n",
            ],
        );
        let text = workflow(Forge::GitLab, &only("$A =~ /^v\\.$/"));
        assert_eq!(text.matches("  rules:\n    - if: \"$A =~ /^v\\\\.$/\"\n").count(), 2, "{text}");
        has(&text, &["\nci:\n  stage: ci\n  script:\n"]);
        for forge in [Forge::GitHub, Forge::GitLab] {
            let text = workflow(forge, &Work { writes: Writes::Never, ..work() });
            assert!(!text.contains("wave"), "{text}");
        }
    }

    #[test]
    fn without_tiers_one_job_does_it_all() {
        let text = workflow(Forge::GitHub, &Work::default());
        has(&text, &["jobs:\n  ci:\n    runs-on:", "run: larder ci --annotate\n"]);
        assert!(!text.contains("wave"), "{text}");
        let text = workflow(Forge::GitLab, &Work::default());
        has(&text, &["\nci:\n  script:\n    - larder ci --junit larder-ci.xml\n"]);
    }

    /// Two tiers by registry, of which pull requests write one; a signed bucket; a secret of a
    /// build.
    fn secretive(forge: Forge) -> Work {
        let text = "[tier.team]\nregistry = \"r.example:5000/cache\"\nlogin = { user = \"TEAM_USER\", password = \"TEAM_TOKEN\" }\n\
            [tier.scratch]\nregistry = \"r.example:5000/pr\"\nlogin = { user = \"PR_USER\", password = \"PR_TOKEN\" }\n\
            [tier.depot]\ns3 = \"https://s3.example/b\"\nsigned-by = [\"ci.pub\"]\n\
            [tier.unwritten]\nregistry = \"other.example/x\"\nlogin = { user = \"X\", password = \"Y\" }\nsigned-by = [\"x.pub\"]\n\
            [profile.pr]\nwhen = { event = \"pull_request\" }\nread = [\"team\", \"unwritten\"]\nwrite = [\"scratch\"]\n\
            [profile.dev]\nwhen = { branch = \"dev\" }\ntrust = 1\nwrite = [\"team\", \"depot\"]\n\
            [image.base]\nsecrets = { hf = { env = \"HF_TOKEN\" } }\n";
        let project = crate::config::parse(text).unwrap_or_else(|fault| panic!("{fault:?}"));
        let mut work = Work { writes: super::super::writers::writes(forge, &project.profiles), ..work() };
        work.add_keys(forge, &project);
        work
    }

    #[test]
    fn jobs_get_what_the_tiers_that_they_write_need_and_pull_requests_no_more() {
        let text = workflow(Forge::GitHub, &secretive(Forge::GitHub));
        let dev = "github.event_name != 'pull_request' && (github.ref_type == 'branch' && github.ref_name == 'dev')";
        let guarded =
            |name: &str| format!("          {name}: \"${{{{ ({dev}) && secrets.{name} || '' }}}}\"\n");
        let pr = |name: &str| {
            format!(
                "          {name}: \"${{{{ (github.event_name == 'pull_request') && secrets.{name} || '' }}}}\"\n"
            )
        };
        let login = |user: &str, password: &str| {
            format!(
                "      - run: test -z \"${password}\" || printf %s \"${password}\" | docker login r.example:5000 --username \"${user}\" --password-stdin\n        env:\n"
            )
        };
        let logins = [
            login("TEAM_USER", "TEAM_TOKEN") + &guarded("TEAM_USER") + &guarded("TEAM_TOKEN"),
            login("PR_USER", "PR_TOKEN") + &pr("PR_USER") + &pr("PR_TOKEN"),
        ]
        .concat();
        let keys = [guarded("AWS_ACCESS_KEY_ID"), guarded("AWS_SECRET_ACCESS_KEY")].concat()
            + "          HF_TOKEN: ${{ secrets.HF_TOKEN }}\n"
            + &guarded("LARDER_SIGNING_KEY");
        let wave = format!(
            "{logins}      - run: larder bake --to-tiers --summary \"$GITHUB_STEP_SUMMARY\" '${{{{ matrix.image }}}}'\n        env:\n{keys}"
        );
        assert_eq!(text.matches(&wave).count(), 2, "{text}");
        let last = format!(
            "{logins}      - run: larder ci --annotate\n        env:\n{keys}          TOKEN: ${{{{ secrets.TOKEN }}}}\n"
        );
        assert!(text.ends_with(&last), "{text}");
        for odd in ["secrets.X ", "secrets.Y ", "other.example"] {
            assert!(!text.contains(odd), "{text}");
        }
        let text = workflow(Forge::GitLab, &secretive(Forge::GitLab));
        // No pipeline is of a merge request alone: GitLab's variables come by themselves.
        assert_eq!(text.matches("    - test -z \"$TEAM_TOKEN\" || printf %s").count(), 3, "{text}");
        assert!(
            !text.contains("PR_TOKEN") && !text.contains("SIGNING") && !text.contains("secrets"),
            "{text}"
        );
    }

    /// What a CI's reader makes of it, where Python's is there.
    #[test]
    fn it_is_yaml() {
        if !larder_tests::have(&[larder_tests::Part::Yaml]) {
            return;
        }
        let only = Work { writes: Writes::Where("$A =~ /^v\\.$/ || 'b: #'".into()), ..work() };
        for (forge, work) in [
            (Forge::GitHub, &work()),
            (Forge::GitLab, &work()),
            (Forge::GitHub, &only),
            (Forge::GitLab, &only),
            (Forge::GitHub, &secretive(Forge::GitHub)),
            (Forge::GitLab, &secretive(Forge::GitLab)),
        ] {
            let session = larder_tests::Session::of("/bin/true");
            let file = session.write("workflow.yml", workflow(forge, work));
            let read = format!("import yaml; print(len(yaml.safe_load(open({:?}))))", file.as_str());
            let mut python = session.program("python3");
            assert_ne!(larder_tests::Ran::of(python.args(["-c", &read])).ok().stdout().trim(), "0");
        }
    }
}
