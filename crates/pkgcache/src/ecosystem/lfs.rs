//! Git LFS: large files of git repositories, each named by its SHA-256.
//!
//! A client asks by `…/objects/batch` where objects are, and whether it may have them; the answer
//! has an address for each, often on another server, for a while and with header fields that let
//! the client in there. Locks, uploads and all else pass through as they are.
//!
//! Source: git-lfs, docs/api/batch.md and docs/api/basic-transfers.md.

use std::fmt;

use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RANGE};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use storekit::Digest;

use crate::ecosystem::table::fetchable;
use crate::ecosystem::{Asked, BadIndex, Class, Package};
use crate::rules::fields::hop;

/// No question or answer about a batch is larger: 8 MiB. Clients ask for 100 objects at a time.
pub(crate) const LARGEST_BATCH: usize = 8 << 20;
/// No action has more header fields.
const MOST_FIELDS: usize = 64;
/// What comes behind the address of a repository.
const BATCH: &str = "/objects/batch";

/// Where an object is had, and what lets the client in. Nothing of it is for anybody else: it is
/// neither stored nor shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// Its address.
    pub(crate) url: Uri,
    /// The fields that are sent along.
    pub(crate) headers: HeaderMap,
}

impl fmt::Debug for Action {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Action at {}", self.url.host().unwrap_or_default())
    }
}

/// An object in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The SHA-256 of its bytes.
    pub(crate) oid: Digest,
    /// Their number.
    pub(crate) size: u64,
}

/// Where a client is led, and the fields that it has to send there.
pub(crate) struct Led {
    pub(crate) href: String,
    pub(crate) header: (&'static str, String),
}

/// `…/objects/HEX` is an object; what git itself asks for, and the rest of the interface, is never
/// stored.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let name = repository(path).map(str::to_owned);
    let package = Package { name, version: None, architecture: None };
    let is_gits = query.is_some_and(|query| query.starts_with("service=git-"));
    let class = match object(path) {
        Some(_) => Class::Artifact,
        None if is_gits || path.contains("/info/lfs/") => Class::Api,
        None => Class::Unknown,
    };
    Asked { package, ..Asked::of(class) }
}

/// The name of the repository in a path: `/team/models.git/info/lfs/…` is of `team/models`.
fn repository(path: &str) -> Option<&str> {
    let (name, _) = path.split_once("/info/lfs/").or_else(|| path.split_once("/objects/"))?;
    let name = name.strip_prefix('/')?;
    Some(name.strip_suffix(".git").unwrap_or(name)).filter(|name| !name.is_empty())
}

/// Whether objects are asked for there.
#[must_use]
pub(crate) fn is_batch(path: &str) -> bool {
    path.ends_with(BATCH)
}

/// The path of an object, beside that of the batch in which it was asked for.
#[must_use]
pub(crate) fn object_path(batch: &str, oid: &Digest) -> Option<String> {
    Some(format!("{}/objects/{}", batch.strip_suffix(BATCH)?, oid.hex()))
}

/// The object that the path is of.
#[must_use]
pub(crate) fn object(path: &str) -> Option<Digest> {
    let (_, name) = path.rsplit_once("/objects/")?;
    Digest::from_hex(name)
}

/// The objects that somebody wants to have; none where the question is another.
#[must_use]
pub(crate) fn wanted(question: &[u8]) -> Vec<Object> {
    let Ok(question) = serde_json::from_slice::<Value>(question) else { return Vec::new() };
    if question.get("operation").and_then(Value::as_str) != Some("download") || !is_usual(&question) {
        return Vec::new();
    }
    let objects = question.get("objects").and_then(Value::as_array);
    objects.into_iter().flatten().filter_map(of_value).collect()
}

fn of_value(object: &Value) -> Option<Object> {
    let oid = Digest::from_hex(object.get("oid")?.as_str()?)?;
    Some(Object { oid, size: object.get("size")?.as_u64()? })
}

/// Whether it is about plain downloads of what is named by SHA-256.
fn is_usual(document: &Value) -> bool {
    let is = |key: &str, usual: &str| document.get(key).is_none_or(|it| it.as_str() == Some(usual));
    is("transfer", "basic") && is("hash_algo", "sha256")
}

/// The answer to a batch, with what `lead` says in the place of each address to download from. What
/// is uploaded, and each address that `lead` leaves alone, stays as it is.
///
/// # Errors
/// [`BadIndex`], where it is not such an answer.
pub(crate) fn led(
    answer: &[u8],
    lead: &mut dyn FnMut(&Object, Action) -> Option<Led>,
) -> Result<Vec<u8>, BadIndex> {
    let wrong = |error: serde_json::Error| BadIndex::Malformed(error.to_string());
    let mut document: Value = serde_json::from_slice(answer).map_err(wrong)?;
    if is_usual(&document) {
        let objects = document.get_mut("objects").and_then(Value::as_array_mut);
        for it in objects.into_iter().flatten() {
            let Some(object) = of_value(it) else { continue };
            let Some(download) = it.pointer_mut("/actions/download") else { continue };
            if let Some(led) = action(download).and_then(|action| lead(&object, action)) {
                lead_to(download, &led);
            }
        }
    }
    serde_json::to_vec(&document).map_err(wrong)
}

fn lead_to(download: &mut Value, led: &Led) {
    if let Some(download) = download.as_object_mut() {
        download.insert("href".to_owned(), led.href.clone().into());
        let (name, value) = &led.header;
        download.insert("header".to_owned(), json!({ *name: value }));
    }
}

/// The answer to a batch of which nothing but what `lead` knows can be had.
#[must_use]
pub(crate) fn stood_in(objects: &[Object], lead: &mut dyn FnMut(&Object) -> Option<Led>) -> String {
    let each = |object: &Object| {
        let mut said = json!({ "oid": object.oid.hex(), "size": object.size });
        let more = match lead(object) {
            Some(Led { href, header: (name, value) }) => {
                ("actions", json!({ "download": { "href": href, "header": { name: value } } }))
            }
            None => (
                "error",
                json!({ "code": 503, "message": "the server cannot be asked, and it is not stored" }),
            ),
        };
        said.as_object_mut()
            .into_iter()
            .for_each(|said| drop(said.insert(more.0.to_owned(), more.1.clone())));
        said
    };
    let objects: Vec<_> = objects.iter().map(each).collect();
    json!({ "transfer": "basic", "objects": objects }).to_string()
}

/// The action in an answer; `None` where it has no address that can be asked.
fn action(download: &Value) -> Option<Action> {
    let url = fetchable(download.get("href")?.as_str()?)?;
    let mut headers = HeaderMap::new();
    let said = download.get("header").and_then(Value::as_object);
    for (name, value) in said.into_iter().flatten().take(MOST_FIELDS) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(value.as_str()?).ok()?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    hop::strip(&mut headers);
    for name in [HOST, CONTENT_LENGTH, RANGE] {
        headers.remove(name);
    }
    Some(Action { url, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn answer(more: &str, actions: &str) -> String {
        format!(r#"{{{more}"objects":[{{"oid":"{HEX}","size":3,"actions":{actions}}}],"x":1}}"#)
    }

    fn led_to(text: &str) -> (Vec<(Object, Action)>, String) {
        let mut seen = Vec::new();
        let mut lead = |object: &Object, action: Action| {
            seen.push((object.clone(), action));
            Some(Led { href: "http://here/o".to_owned(), header: ("x-t", "1".to_owned()) })
        };
        let written = led(text.as_bytes(), &mut lead).unwrap();
        (seen, String::from_utf8(written).unwrap())
    }

    #[test]
    fn what_is_downloaded_is_led_here_and_nothing_else() {
        let download = r#"{"download":{"href":"https://s.example/o?sig=1","header":{"Authorization":"b","Host":"x"},"expires_in":60}}"#;
        let (seen, written) = led_to(&answer("", download));
        let [(object, action)] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((object.oid.hex().as_str(), object.size), (HEX, 3));
        assert_eq!(action.url.to_string(), "https://s.example/o?sig=1");
        assert!(action.headers.len() == 1 && action.headers["authorization"] == "b");
        assert!(!written.contains("sig=1") && !written.contains("Authorization"), "{written}");
        assert!(written.contains(r#""expires_in":60"#) && written.contains(r#""x":1"#), "{written}");
        assert!(!format!("{seen:?}").contains("sig"), "{seen:?}");
        for (more, actions) in [
            ("", r#"{"upload":{"href":"https://s.example/o"},"verify":{"href":"https://s.example/v"}}"#),
            (r#""transfer":"ssh","#, download),
            (r#""hash_algo":"sha512","#, download),
            ("", r#"{"download":{"href":"file:///etc/passwd"}}"#),
            ("", r#"{"download":{"href":"https://s.example/o","header":{"a b":"c"}}}"#),
        ] {
            let text = answer(more, actions);
            let (seen, written) = led_to(&text);
            let same: Value = serde_json::from_str(&text).unwrap();
            assert!(seen.is_empty() && serde_json::from_str::<Value>(&written).unwrap() == same, "{written}");
        }
        assert!(led(b"<html>", &mut |_, _| None).is_err());
    }

    #[test]
    fn paths_say_what_is_asked_for() {
        let ask = |path: &str| ask(path, None);
        let object = ask(&format!("/team/models.git/info/lfs/objects/{HEX}"));
        assert_eq!((object.class, object.package.name.as_deref()), (Class::Artifact, Some("team/models")));
        assert_eq!(ask("/team/models.git/info/lfs/locks").class, Class::Api);
        assert_eq!(super::ask("/a.git/info/refs", Some("service=git-upload-pack")).class, Class::Api);
        assert_eq!(ask(&format!("/a/objects/{}", &HEX[1..])).class, Class::Unknown);
        let path = object_path("/a/info/lfs/objects/batch", &Digest::of(b"abc")).unwrap();
        assert_eq!(path, format!("/a/info/lfs/objects/{HEX}"));
    }

    #[test]
    fn only_a_question_about_downloads_wants_objects() {
        let question = |operation: &str| {
            format!(
                r#"{{"operation":"{operation}","objects":[{{"oid":"{HEX}","size":3}},{{"oid":"x","size":1}}]}}"#
            )
        };
        assert_eq!(wanted(question("download").as_bytes()).len(), 1);
        assert!(wanted(question("upload").as_bytes()).is_empty() && wanted(b"[").is_empty());
    }
}
