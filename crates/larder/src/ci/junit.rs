//! The steps of a run as a CI reads them: `JUnit`'s XML, and annotations.

use std::fmt::Write as _;

use crate::times::{Ended, Taken, Times};

/// A test suite with a case for each step.
///
/// Source: the schema of Jenkins' xUnit plugin, as far as GitLab, GitHub's actions and Jenkins read
/// it.
pub(super) fn xml(times: &Times) -> String {
    let steps = times.steps();
    let count = |ended: Ended| steps.iter().filter(|step| step.ended == ended).count();
    let sum: f64 = steps.iter().map(|step| step.time.as_secs_f64()).sum();
    let (failed, skipped) = (count(Ended::Badly), count(Ended::Skipped));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"larder ci\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\" time=\"{sum:.3}\">\n",
        steps.len()
    );
    for Taken { name, time, ended, why } in steps {
        let (name, seconds) = (escaped(name), time.as_secs_f64());
        let inside = match ended {
            Ended::Well => String::new(),
            Ended::Skipped => "<skipped/>".to_owned(),
            Ended::Badly => {
                format!("<failure message=\"{}\"/>", escaped(why.as_deref().unwrap_or("it failed")))
            }
        };
        // A string is never too long to be written.
        let _ = writeln!(
            text,
            "<testcase classname=\"larder\" name=\"{name}\" time=\"{seconds:.3}\">{inside}</testcase>"
        );
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

/// A line for each step that failed, which GitHub's and Gitea's runners show beside the run.
///
/// Source: GitHub Actions, workflow commands, "Setting an error message".
pub(super) fn annotations(times: &Times) -> String {
    let failed = times.steps().iter().filter(|step| step.ended == Ended::Badly);
    let line = |step: &Taken| {
        let why = step.why.as_deref().unwrap_or("it failed");
        format!("::error title={}::{}\n", property(&format!("larder ci: {}", step.name)), data(why))
    };
    failed.map(line).collect()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// As the text of an attribute. What XML 1.0 has no letter for becomes a blank.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn times() -> Times {
        let mut times = Times::default();
        times.add("lint", Duration::from_millis(1500), Ended::Well);
        times.add("docs", Duration::ZERO, Ended::Skipped);
        times.add("te,st", Duration::from_secs(2), Ended::Badly);
        times.blame("`a < \"b\"` ended with code 7\n100%");
        times
    }

    #[test]
    fn each_step_is_a_case() {
        let text = xml(&times());
        assert!(text.contains("tests=\"3\" failures=\"1\" skipped=\"1\" time=\"3.500\""), "{text}");
        assert!(text.contains("name=\"docs\" time=\"0.000\"><skipped/></testcase>"), "{text}");
        assert!(
            text.contains("<failure message=\"`a &lt; &quot;b&quot;` ended with code 7 100%\"/>"),
            "{text}"
        );
    }

    #[test]
    fn a_failure_is_annotated_on_one_line() {
        assert_eq!(
            annotations(&times()),
            "::error title=larder ci%3A te%2Cst::`a < \"b\"` ended with code 7%0A100%25\n"
        );
    }
}
