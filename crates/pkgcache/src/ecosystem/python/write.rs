//! Pages that are written from what was read of another form.

use std::fmt::Write as _;

use http::Uri;
use serde_json::{Map, Value, json};

use super::listed::{Hashes, Head, Listed};
use crate::ecosystem::base::Base;

/// What all pages of a project need.
pub(super) struct Page<'p> {
    pub(super) url: &'p Uri,
    pub(super) project: &'p str,
    pub(super) base: &'p Base,
}

impl Page<'_> {
    /// What stands before the files in HTML.
    #[must_use]
    pub(super) fn html_head(&self, head: &Head) -> String {
        let mut written = String::from("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n");
        let mut meta = |name: &str, content: &str| {
            let content = escaped(content);
            // Writing to a text cannot fail.
            let _ = writeln!(written, "<meta name=\"pypi:{name}\" content=\"{content}\">");
        };
        meta("repository-version", head.version.as_deref().unwrap_or("1.0"));
        head.status.iter().for_each(|status| meta("project-status", status));
        head.reason.iter().for_each(|reason| meta("project-status-reason", reason));
        head.tracks(self.url).iter().for_each(|url| meta("tracks", url));
        head.alternates.iter().for_each(|url| meta("alternate-locations", url));
        let title = escaped(self.project);
        let body = format!("<title>Links for {title}</title>\n</head>\n<body>\n<h1>Links for {title}</h1>\n");
        written + &body
    }

    /// What stands behind them.
    pub(super) const HTML_END: &'static str = "</body>\n</html>\n";

    /// A file in HTML.
    #[must_use]
    pub(super) fn html_file(&self, file: &Listed) -> String {
        let fragment = hash(&file.hashes).map(|hash| format!("#{hash}")).unwrap_or_default();
        let mut written = format!("<a href=\"{}{fragment}\"", escaped(&file.here(self.project, self.base)));
        let mut attribute = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                // Writing to a text cannot fail.
                let _ = write!(written, " data-{name}=\"{}\"", escaped(value));
            }
        };
        let metadata = |hashes: &Hashes| hash(hashes).unwrap_or_else(|| "true".to_owned());
        attribute("requires-python", file.requires_python.as_deref());
        attribute("yanked", file.yanked.as_deref());
        attribute("core-metadata", file.core_metadata.as_ref().map(metadata).as_deref());
        attribute("dist-info-metadata", file.dist_info_metadata.as_ref().map(metadata).as_deref());
        attribute("gpg-sig", file.gpg_sig.map(|signed| if signed { "true" } else { "false" }));
        attribute("provenance", file.provenance.as_deref());
        format!("{written}>{}</a><br>\n", escaped(&file.name))
    }

    /// What stands before the files in JSON. HTML does not say all that later versions of the
    /// interface want to have said.
    #[must_use]
    pub(super) fn json_head(&self, head: &Head) -> String {
        let meta = json!({"api-version": "1.0", "tracks": head.tracks(self.url)});
        let mut members = format!(r#"{{"meta":{meta},"name":{}"#, Value::from(self.project));
        let mut member = |name: &str, value: Value| {
            // Writing to a text cannot fail.
            let _ = write!(members, ",\"{name}\":{value}");
        };
        if let Some(status) = &head.status {
            let mut said = json!({"status": status});
            head.reason.iter().for_each(|reason| said["reason"] = json!(reason));
            member("project-status", said);
        }
        if !head.alternates.is_empty() {
            member("alternate-locations", json!(head.alternates));
        }
        members + ",\"files\":["
    }

    /// What stands behind them.
    pub(super) const JSON_END: &'static str = "]}\n";

    /// A file in JSON.
    #[must_use]
    pub(super) fn json_file(&self, file: &Listed) -> String {
        let mut members = Map::new();
        let mut member = |name: &str, value: Option<Value>| {
            members.extend(value.map(|value| (name.to_owned(), value)));
        };
        member("filename", Some(json!(file.name)));
        member("url", Some(json!(file.here(self.project, self.base))));
        member("hashes", Some(object(&file.hashes)));
        member("requires-python", file.requires_python.as_ref().map(|text| json!(text)));
        member(
            "yanked",
            file.yanked.as_ref().map(|why| if why.is_empty() { json!(true) } else { json!(why) }),
        );
        let metadata = |hashes: &Hashes| if hashes.is_empty() { json!(true) } else { object(hashes) };
        member("core-metadata", file.core_metadata.as_ref().map(metadata));
        member("dist-info-metadata", file.dist_info_metadata.as_ref().map(metadata));
        member("gpg-sig", file.gpg_sig.map(Value::from));
        member("provenance", file.provenance.as_ref().map(|url| json!(url)));
        Value::Object(members).to_string()
    }
}

fn object(hashes: &Hashes) -> Value {
    hashes.iter().map(|(name, hex)| (name.clone(), Value::from(hex.as_str()))).collect()
}

/// The hash that clients are told where there is room for one: `sha256=HEX`.
fn hash(hashes: &Hashes) -> Option<String> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let known = || hashes.iter().filter(|(name, hex)| plain(name) && plain(hex));
    let best = known().find(|(name, _)| name == "sha256").or_else(|| known().next())?;
    Some(format!("{}={}", best.0, best.1))
}

/// The text so that it means itself in a value or between tags.
pub(super) fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            '\t' | '\n' | '\r' => {
                // Writing to a text cannot fail.
                let _ = write!(written, "&#{};", u32::from(c));
            }
            c if c.is_control() => written.push('\u{fffd}'),
            c => written.push(c),
        }
    }
    written
}
