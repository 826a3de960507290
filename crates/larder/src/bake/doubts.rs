//! What hashctx warns of, for a report in JSON. People have read it on stderr.

use serde::Deserialize;

/// As much of what `hashctx --json` prints as matters here.
#[derive(Deserialize)]
struct Key {
    warnings: Vec<Doubt>,
}

#[derive(Deserialize)]
struct Doubt {
    code: String,
    message: String,
}

/// The warnings' texts. Who builds `from_tar` reads nothing that git hides, so that this is none
/// then.
pub(super) fn parse(json: &[u8], from_tar: bool) -> Vec<String> {
    let key = serde_json::from_slice::<Key>(json).map_or(Vec::new(), |key| key.warnings);
    let counts = |doubt: &Doubt| !(from_tar && doubt.code == "hashctx::hidden_source");
    key.into_iter().filter(counts).map(|doubt| doubt.message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_hides_is_no_doubt_about_a_tar() {
        let json = br#"{"key":"c0","inputs":1,"unknown":[],"warnings":[
            {"code":"hashctx::hidden_source","message":"hidden"},{"code":"hashctx::private","message":"private"}]}"#;
        assert_eq!(parse(json, false), ["hidden", "private"]);
        assert_eq!(parse(json, true), ["private"]);
        assert_eq!(parse(b"", false), [""; 0]);
    }
}
