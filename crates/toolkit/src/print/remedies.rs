//! Which command of the suite mends what the store reports: the store itself knows no command.

use std::io;

use miette::Diagnostic;

/// What to run, by the diagnostic code of the store's error.
const COMMANDS: [(&str, &str); 5] = [
    ("storekit::not_a_store", "`imgtar save`, `import` or `pack`, or `pkgcache serve`, make a store"),
    ("storekit::blob::corrupt", "`imgtar verify` finds what else is damaged"),
    ("storekit::entry::corrupt", "`imgtar rm KEY` removes the key"),
    ("storekit::document::corrupt", "`imgtar rm KEY` removes the image"),
    ("storekit::no_such_key", "`imgtar ls` lists the keys"),
];

const FULL: &str = "`gcctl run --max-size SIZE` makes room in the store";

/// The command that helps, if there is one for this error or for one that caused it.
#[must_use]
pub(crate) fn remedy(report: &miette::Report) -> Option<&'static str> {
    let mut next: Option<&dyn Diagnostic> = Some(report.as_ref());
    while let Some(diagnostic) = next {
        let code = diagnostic.code().map(|code| code.to_string());
        if let Some((_, command)) = COMMANDS.iter().find(|(of, _)| code.as_deref() == Some(*of)) {
            return Some(command);
        }
        next = diagnostic.diagnostic_source();
    }
    report.chain().any(is_full).then_some(FULL)
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::IntoDiagnostic;

    #[test]
    fn the_stores_errors_have_a_command() {
        let missing = storekit::Error::NotAStore { path: "/x".into() };
        assert!(remedy(&missing.into()).is_some_and(|command| command.contains("imgtar save")));
        let full = storekit::Error::io("write", "/x", io::ErrorKind::StorageFull.into());
        assert_eq!(remedy(&full.into()), Some(FULL));
        let other: miette::Report = Err::<(), _>(io::Error::other("x")).into_diagnostic().unwrap_err();
        assert_eq!(remedy(&other), None);
    }
}
