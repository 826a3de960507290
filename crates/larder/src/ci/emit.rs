//! A workflow for a CI that calls the same commands.
//!
//! Images go over several jobs only where a tier carries them from one to the next: a job for each
//! wave, those of one wave side by side. What all others are built from is in one wave alone. These
//! jobs do nothing but fill the tiers: names in registries are the last job's to give, after all
//! steps.

use std::fmt::Write as _;

use super::writers::Writes;

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
}

impl Work {
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
            &[],
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
    text.push_str(&github_steps("larder ci --annotate", &work.secrets));
    text
}

fn github_steps(run: &str, secrets: &[String]) -> String {
    let mut text = format!(
        "    steps:\n      - uses: actions/checkout@v4\n        with:\n          fetch-depth: 0\n      - run: pip install larder-tools\n      - run: {run}\n"
    );
    if !secrets.is_empty() {
        text.push_str("        env:\n");
        let line = |name: &String| format!("          {name}: ${{{{ secrets.{name} }}}}\n");
        text.extend(secrets.iter().map(line));
    }
    text
}

fn gitlab(work: &Work) -> String {
    let mut text = format!(
        "{HEAD}default:\n  image: {GITLAB_IMAGE}\n  services: [docker:dind]\n  before_script:\n    - apt-get update && apt-get install --yes --no-install-recommends docker-cli git\n    - pip install larder-tools\n\nvariables:\n  GIT_DEPTH: 0\n  DOCKER_HOST: tcp://docker:2376\n  DOCKER_TLS_VERIFY: 1\n  DOCKER_TLS_CERTDIR: /certs\n  DOCKER_CERT_PATH: /certs/client\n"
    );
    let stages: Vec<_> = (1..=work.jobs().len()).map(|at| format!("wave-{at}")).collect();
    if !stages.is_empty() {
        let _ = write!(text, "\nstages: [{}, ci]\n", stages.join(", "));
    }
    for (name, images) in stages.iter().zip(work.jobs()) {
        let _ = writeln!(text, "\n{name}:\n  stage: {name}");
        let _ = work.condition().iter().try_for_each(|only| writeln!(text, "  rules:\n    - if: {only}"));
        let _ = write!(
            text,
            "  parallel:\n    matrix:\n      - IMAGE: [{}]\n  script:\n    - larder bake --to-tiers \"$IMAGE\"\n",
            list(images)
        );
    }
    text.push_str("\nci:\n");
    if !stages.is_empty() {
        text.push_str("  stage: ci\n");
    }
    text.push_str("  script:\n    - larder ci --junit larder-ci.xml\n  artifacts:\n    when: always\n    reports:\n      junit: larder-ci.xml\n");
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
        Work { waves, writes: Writes::Always, secrets: names(&["TOKEN"]) }
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
        ] {
            let session = larder_tests::Session::of("/bin/true");
            let file = session.write("workflow.yml", workflow(forge, work));
            let read = format!("import yaml; print(len(yaml.safe_load(open({:?}))))", file.as_str());
            let mut python = session.program("python3");
            assert_ne!(larder_tests::Ran::of(python.args(["-c", &read])).ok().stdout().trim(), "0");
        }
    }
}
