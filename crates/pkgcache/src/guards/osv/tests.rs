use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn files(paths: &[&Utf8Path], all: bool) -> OsvFiles {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    OsvFiles { paths, all, ignore: BTreeSet::from(["MAL-0".to_owned()]) }
}

fn advisory(id: &str, ecosystem: &str, name: &str, affected: Value) -> String {
    let mut affected = affected;
    affected["package"] = json!({ "ecosystem": ecosystem, "name": name });
    json!({ "id": id, "modified": "2026-01-01T00:00:00Z", "affected": [affected] }).to_string()
}

fn range(events: &Value) -> Value {
    json!({ "ranges": [{ "type": "ECOSYSTEM", "events": events }] })
}

#[track_caller]
fn names(ecosystem: &str, affected: Value, yes: &[&str], no: &[&str]) {
    let mut advisories = Advisories::default();
    let text = advisory("MAL-1", ecosystem, "Own_Name", affected);
    advisories.add(text.as_bytes(), &files(&[], false)).unwrap();
    let kind = kind(ecosystem).unwrap();
    let name = if kind == Ecosystem::Python { "own-name" } else { "Own_Name" };
    let of = |version: &&str| advisories.of(kind, name, version).is_some();
    assert!(yes.iter().all(of), "{ecosystem}: {yes:?}");
    assert!(!no.iter().any(of), "{ecosystem}: {no:?}");
    assert_eq!(advisories.of(kind, "another", yes[0]), None);
}

#[test]
fn ranges_are_read_in_the_order_of_their_ecosystem() {
    let events = json!([{ "introduced": "1.2.0-beta.2" }, { "fixed": "1.10.0" }]);
    let (yes, no) =
        (["1.2.0", "1.2.0-beta.11", "1.9.9", "1.10.0-rc.1"], ["1.2.0-beta.1", "1.10.0", "2.0.0", "1.1.9"]);
    names("npm", range(&events), &yes, &no);
    names("Go", range(&events), &["v1.2.0", "v1.9.9+incompatible"], &["v1.10.0", "v1.1.0"]);
    let events = json!([{ "introduced": "1.0rc1" }, { "last_affected": "1!0.5.post1" }]);
    names("PyPI", range(&events), &["1.0", "99", "1!0.5", "1!0.5.post1"], &["1.0b9", "1!0.5.post2", "1!1"]);
    let events =
        json!([{ "fixed": "3.0.0" }, { "introduced": "0" }, { "fixed": "1.0.0" }, { "introduced": "2.0.0" }]);
    names("npm", range(&events), &["0.0.1", "2.0.0", "2.9.9"], &["1.0.0", "1.9.9", "3.0.0"]);
    names("npm", range(&json!([{ "introduced": "0" }])), &["1.0.0", "not-a-version"], &[]);
}

#[test]
fn a_listed_version_is_compared_as_a_version() {
    names("PyPI", json!({ "versions": ["1.0", "2.0.0RC1"] }), &["1.0.0", "2.0rc1", "v1"], &["1.0.1", "2.0"]);
    names("npm", json!({ "versions": ["1.0.0"] }), &["1.0.0"], &["1.0.1", "1.0.0-rc"]);
    names("npm", json!({}), &["1.0.0", "x"], &[]);
    let git = json!({ "ranges": [{ "type": "GIT", "repo": "x", "events": [{ "introduced": "0" }] }], "versions": ["1.0.0"] });
    names("npm", git, &["1.0.0"], &["1.0.1"]);
}

#[test]
fn only_what_counts_is_kept() {
    let all = || range(&json!([{ "introduced": "0" }]));
    let mut records = vec![advisory("GHSA-1", "npm", "a", all()), advisory("MAL-0", "npm", "b", all())];
    let mut withdrawn: Value = serde_json::from_str(&advisory("MAL-2", "npm", "c", all())).unwrap();
    withdrawn["withdrawn"] = json!("2026-01-01T00:00:00Z");
    let mut alias: Value = serde_json::from_str(&advisory("GHSA-3", "npm", "d", all())).unwrap();
    alias["aliases"] = json!(["MAL-3"]);
    records.extend([withdrawn.to_string(), alias.to_string(), advisory("MAL-4", "Debian:12", "e", all())]);
    let found = |files: &OsvFiles| {
        let mut advisories = Advisories::default();
        for record in &records {
            advisories.add(record.as_bytes(), files).unwrap();
        }
        ["a", "b", "c", "d", "e"].map(|name| advisories.of(Ecosystem::Npm, name, "1.0.0").map(str::to_owned))
    };
    assert_eq!(found(&files(&[], false)), [None, None, None, Some("GHSA-3".into()), None]);
    assert_eq!(found(&files(&[], true))[0].as_deref(), Some("GHSA-1"));
}

/// A zip with these files.
fn zip(path: &Utf8Path, contents: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in contents {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

fn read_all(files: &OsvFiles) -> Result<Advisories, String> {
    let stamp = read::stamp(files).map_err(|error| error.to_string())?;
    read::read(files, &stamp).map_err(|error| error.to_string())
}

#[test]
fn a_folder_has_files_and_zips() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    fs::create_dir(folder.join("more")).unwrap();
    let of = |name: &str| advisory("MAL-1", "npm", name, json!({}));
    fs::write(folder.join("more/one.json"), of("one")).unwrap();
    fs::write(folder.join("README"), "no advisory").unwrap();
    zip(&folder.join("all.zip"), &[("x/two.json", of("two").as_bytes()), ("x/notes.txt", b"none")]);
    std::os::unix::fs::symlink(&folder, folder.join("back")).unwrap();
    let advisories = read_all(&files(&[&folder], false)).unwrap();
    assert_eq!(advisories.len(), 2);
    assert!(["one", "two"].iter().all(|name| advisories.of(Ecosystem::Npm, name, "1.0.0").is_some()));
}

#[test]
fn what_is_beyond_the_limits_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let refused = |name: &str, reason: &str| {
        let error = read_all(&files(&[&folder.join(name)], false)).unwrap_err();
        assert!(error.contains(name) && error.contains(reason), "{name}: {error}");
    };
    refused("away.json", "No such file");
    zip(&folder.join("bomb.zip"), &[("a.json", &vec![b' '; 8 << 20])]);
    refused("bomb.zip", "`a.json` in it is packed more than 200 to 1");
    fs::write(folder.join("large.json"), " ".repeat(17 << 20)).unwrap();
    refused("large.json", "larger than 16 MiB");
    fs::write(folder.join("torn.json"), "{\"id\":\"MAL-1\",").unwrap();
    refused("torn.json", "EOF");
    fs::write(folder.join("not.zip"), "PK").unwrap();
    refused("not.zip", "");
    let deep: Utf8PathBuf =
        std::iter::once(folder.join("deep")).chain((0..9).map(|it| it.to_string().into())).collect();
    fs::create_dir_all(&deep).unwrap();
    let error = read_all(&files(&[&folder.join("deep")], false)).unwrap_err();
    assert!(error.contains("more than 8 folders deep"), "{error}");
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe.json").as_std_path(), rustix::fs::Mode::RWXU)
        .unwrap();
    refused("pipe.json", "it is not a file");
}
