//! Guards as larder.toml sets them, and what they say then.

use storekit::Level;

use crate::config::settings::Options;
use crate::ecosystem::Ecosystem;
use crate::ecosystem::releases::seconds;
use crate::ecosystem::table::Standing;
use crate::guards::{Guard, Guards, Subject};

/// The guards of a table in larder.toml.
fn guards(text: &str) -> Result<Option<Guards>, String> {
    let mounts = "[upstream]\nown = { url = \"http://own.example/\", kind = \"npm\" }\n\
        [registry]\n\"images.example\" = {}\n";
    let options: Options =
        toml::from_str(&format!("{mounts}[guards]\n{text}")).map_err(|error| error.message().to_owned())?;
    let config = options.config("/folder".into()).map_err(|error| error.to_string())?;
    Ok(config.guards.as_deref().cloned())
}

fn set(text: &str) -> Guards {
    guards(text).unwrap().unwrap()
}

fn npm<'a>(name: &'a str, version: Option<&'a str>) -> Subject<'a> {
    Subject { kind: Ecosystem::Npm, name, version }
}

#[track_caller]
fn by_name(text: &str, subject: Subject<'_>, words: Option<&str>) {
    let found = set(text).by_name(subject, None).map(|refusal| refusal.text);
    match words {
        None => assert_eq!(found, None, "{text}"),
        Some(words) => assert!(found.as_ref().is_some_and(|it| it.contains(words)), "{text}: {found:?}"),
    }
}

#[test]
fn nothing_is_guarded_unless_it_is_set() {
    for text in ["", "withdrawn = \"mark\"", "block = []\nosv = []", "cooldown-except = [\"npm:a\"]"] {
        assert_eq!(guards(text), Ok(None), "{text}");
    }
}

#[test]
fn lists_say_yes_and_no_by_name_and_version() {
    let block = "block = [\"npm:evil\", \"npm:event-stream@3.3.6\"]";
    by_name(block, npm("evil", None), Some("guard `block`: npm evil: `npm:evil` is blocked"));
    by_name(block, npm("event-stream", Some("3.3.6")), Some("npm event-stream 3.3.6: "));
    by_name(block, npm("event-stream", Some("3.3.5")), None);
    by_name(block, npm("event-stream", None), None);
    let allow = "allow = [\"npm:@acme/*\", \"npm:left-pad@1.*\"]";
    by_name(allow, npm("@acme/a", None), None);
    by_name(allow, npm("left-pad", None), None);
    by_name(allow, npm("left-pad", Some("1.3.0")), None);
    by_name(allow, npm("left-pad", Some("2.0.0")), Some("guard `allow`: npm left-pad 2.0.0"));
    by_name(allow, npm("other", None), Some("not on the list"));
    by_name(allow, Subject { kind: Ecosystem::Cargo, ..npm("other", None) }, None);
}

#[test]
fn a_version_is_refused_until_it_is_old_enough() {
    let guards = set("cooldown = { npm = \"7d\", go = \"1d\" }\ncooldown-except = [\"npm:@acme/*\"]");
    let published = seconds("2026-01-01T00:00:00Z");
    let day = 86_400;
    let standing = Standing { published, withdrawn: true };
    let at = |days: i64| i64::from(published.unwrap()) + days * day;
    let said =
        |subject, standing, now| guards.by_standing(subject, standing, now, || at(3)).map(|it| it.text);
    let young = said(npm("a", Some("1")), standing, at(7) - 1).unwrap();
    assert!(
        young.contains("published on 2026-01-01T00:00:00Z and may be had from 2026-01-08T00:00:00Z"),
        "{young}"
    );
    assert_eq!(said(npm("a", Some("1")), standing, at(7)), None);
    assert!(said(npm("a", Some("1")), standing, at(-5)).is_some(), "a date in the future is young");
    assert_eq!(said(npm("@acme/a", Some("1")), standing, at(0)), None);
    let go = Subject { kind: Ecosystem::Go, ..npm("corp.example/a", Some("v1.0.0")) };
    let unseen = said(go, Standing::default(), at(4) - 1).unwrap();
    assert!(unseen.contains("was first seen here") && unseen.contains("from 2026-01-05"), "{unseen}");
    assert_eq!(said(go, Standing::default(), at(4)), None);
    assert_eq!(said(Subject { kind: Ecosystem::Apt, ..go }, Standing::default(), at(0)), None);
}

#[test]
fn what_vouches_too_little_is_refused_by_its_level() {
    let guards = set("require = { npm = \"indexed\", apt = \"signed\" }\nwithdrawn = \"refuse\"");
    let said = |kind, level| guards.by_level(kind, "/a.tgz", level).map(|it| it.text);
    let pinned = said(Ecosystem::Npm, Level::Pinned).unwrap();
    assert!(pinned.contains("/a.tgz is vouched for as `pinned`, and has to be `indexed`"), "{pinned}");
    assert_eq!(said(Ecosystem::Npm, Level::Signed), None);
    assert!(said(Ecosystem::Apt, Level::Indexed).is_some() && said(Ecosystem::Cargo, Level::None).is_none());
    let taken_back = Standing { published: None, withdrawn: true };
    let refused = guards.by_standing(npm("a", Some("1")), taken_back, 0, || 0).unwrap();
    assert_eq!(refused.guard, Guard::Withdrawn);
    assert_eq!(guards.by_standing(npm("a", Some("1")), Standing::default(), 0, || 0), None);
}

#[test]
fn one_word_is_for_the_kinds_that_have_what_it_takes() {
    let guards = set("cooldown = \"7d\"\nrequire = \"indexed\"");
    assert_eq!(guards.cooldown.keys().map(|it| it.name()).collect::<Vec<_>>(), ["python", "npm", "cargo"]);
    assert!(guards.require.contains_key(&Ecosystem::Apt) && !guards.require.contains_key(&Ecosystem::Oci));
    let osv =
        set("osv = { files = [\"a.zip\", \"/b\"], refuse = \"all\", ignore = [\"GHSA-1\"] }").osv.unwrap();
    assert_eq!((osv.paths, osv.all), (vec!["/folder/a.zip".into(), "/b".into()], true));
}

#[test]
fn a_wrong_guard_is_told_in_words() {
    for (text, words) in [
        ("blok = []", "unknown field `blok`"),
        ("block = [\"a\"]", "`a` is not a pattern of packages: it names no kind of client"),
        ("block = \"npm:a\"", "expected a sequence"),
        ("cooldown = 7", "expected an age such as `7d`"),
        ("cooldown = { oci = \"7d\" }", "`oci` has no such guard"),
        ("cooldown = \"soon\"", "is not an age"),
        ("require = \"checked\"", "`checked` is not a level"),
        ("withdrawn = \"no\"", "unknown variant `no`, expected `mark` or `refuse`"),
        ("osv = 3", "expected paths of files"),
        ("osv = { refuse = \"all\" }", "missing field `files`"),
        ("namespace = { \"npm:@acme/*\" = \"else\" }", "no mount and no registry has that name"),
        ("namespace = { \"python:acme\" = \"own\" }", "that one is for another kind of client"),
        ("namespace = { \"npm:a@1\" = \"own\" }", "in all their versions"),
    ] {
        let message = guards(text).unwrap_err();
        assert!(message.contains(words), "{text}: {message}");
    }
    let spaces =
        set("namespace = { \"npm:@acme/*\" = \"own\", \"oci:acme/*\" = \"images.example\" }").namespaces;
    assert_eq!(
        spaces.iter().map(|it| it.url.to_string()).collect::<Vec<_>>(),
        ["http://own.example/", "https://images.example/"]
    );
}

#[test]
fn the_manual_s_example_is_valid() {
    let manual = include_str!("../../../GUARDS.md");
    let example = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let table: toml::Table = toml::from_str(example).unwrap();
    let options: Options = table["pkgcache"].clone().try_into().unwrap();
    let guards = options.config("/".into()).unwrap().guards.unwrap();
    assert!(guards.refuses_withdrawn && guards.osv.is_some() && guards.namespaces.len() == 1);
}
