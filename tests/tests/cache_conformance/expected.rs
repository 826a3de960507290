//! The list of what does not pass: a line `ID<tab>WHERE<tab>REASON` each. WHERE is `all`, or words
//! of which each names an edition or a mode: it is where both fit. An ID that ends in `*` is that
//! of a group of which some do not pass.

use crate::suite::{Given, MODES, Mode, Run};

/// The list, in its order.
pub(crate) struct Expected(Vec<Entry>);

/// A test that does not pass.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) place: String,
    pub(crate) reason: String,
}

impl Expected {
    pub(crate) fn load() -> Self {
        Self::parse(include_str!("../../conformance/expected.tsv"))
    }

    fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let [id, place, reason] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
            Entry { id: id.to_owned(), place: place.to_owned(), reason: reason.to_owned() }
        };
        Self(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(entry).collect())
    }

    /// How the run is not as the list says: a line each. What only looks at behaviour (`check`)
    /// cannot fail.
    pub(crate) fn differences(&self, run: &Run) -> Vec<String> {
        let surprises = self.surprises(run).map(|Given { id, kind, outcome, said }| {
            format!("{id} ({kind}) is not listed: {outcome}: {said}")
        });
        let listed = self.entries(run.edition, run.mode);
        let idle =
            listed.filter(|entry| !run.given.iter().any(|given| !given.passed() && entry.covers(given)));
        let idle =
            idle.filter(|entry| entry.place != "all" || run.given.iter().any(|given| entry.covers(given)));
        let idle = idle.map(|entry| format!("{} is listed, and no such test fails", entry.id));
        surprises.chain(idle).map(|line| format!("{} {}: {line}", run.edition, run.mode)).collect()
    }

    /// What does not pass and is not listed.
    pub(crate) fn surprises<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = &'a Given> {
        let listed = |given: &Given| self.entries(run.edition, run.mode).any(|entry| entry.covers(given));
        run.given.iter().filter(move |given| given.kind != "check" && !given.passed() && !listed(given))
    }

    /// What is listed for an edition and a mode.
    pub(crate) fn entries(&self, edition: &str, mode: Mode) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| is_at(&entry.place, edition, mode))
    }
}

impl Entry {
    fn covers(&self, given: &Given) -> bool {
        match self.id.strip_suffix('*') {
            Some(start) => given.id.starts_with(start),
            None => self.id == given.id,
        }
    }
}

fn is_at(place: &str, edition: &str, mode: Mode) -> bool {
    let mode = mode.to_string();
    let words = || place.split(' ').filter(|word| *word != "all");
    let is_mode = |word: &str| MODES.iter().any(|mode| mode.to_string() == word);
    words().all(|word| word == if is_mode(word) { &mode } else { edition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_edition_and_a_mode() {
        for (place, expected) in [
            ("all", true),
            ("2026", true),
            ("reverse", true),
            ("2026 reverse", true),
            ("forward", false),
            ("2026 forward", false),
            ("0.4.5", false),
        ] {
            assert_eq!(is_at(place, "2026", Mode::Reverse), expected, "{place}");
        }
    }

    #[test]
    fn a_difference_is_told_in_either_direction() {
        let list = Expected::parse("# why\n\na\tall\tno\nb\tforward\tno\nc*\t2026\tno\nf\tall\tno\n");
        let given = |id: &str, kind: &str, outcome: &str| Given {
            id: id.into(),
            kind: kind.into(),
            outcome: outcome.into(),
            said: "why".into(),
        };
        let mut given = vec![
            given("a", "required", "pass"),
            given("b", "optimal", "fail"),
            given("c1", "optimal", "pass"),
            given("d", "optimal", "pass"),
            given("e", "check", "no"),
        ];
        let mut check = |outcome: &str, expected: &[&str]| {
            given[2].outcome = outcome.into();
            let run = Run { edition: "2026", mode: Mode::Reverse, given: given.clone() };
            assert_eq!(list.differences(&run), expected);
        };
        let b = "2026 reverse: b (optimal) is not listed: fail: why";
        let a = "2026 reverse: a is listed, and no such test fails";
        check("pass", &[b, a, "2026 reverse: c* is listed, and no such test fails"]);
        check("setup failed", &[b, a]);
    }
}
