//! Authorities in a folder, and what they vouch for.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::leaves::Leaves;
use super::*;
use crate::damaged::each_text;
use crate::error::Error;

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().join("ca")).unwrap();
    (dir, Folder::at(path))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn an_authority_is_read_as_it_was_made_and_never_written_over() {
    let (_dir, folder) = folder();
    assert!(matches!(folder.load(), Err(Error::NoAuthority { .. })));
    let made = folder.init(&names(&["a.example", "b.example"])).unwrap();
    assert!(matches!(folder.init(&names(&["c.example"])), Err(Error::AuthorityIsThere { .. })));
    let read = folder.load().unwrap();
    assert!(read == made && read.permitted() == ["a.example", "b.example"]);
    assert_eq!(read.ends().as_second() - read.begins().as_second(), certificate::LIFE + certificate::BACK);
    assert!(read.permits("x.y.a.example") && !read.permits("xa.example") && !read.permits("example"));
    assert!(!format!("{read:?}").contains("key"), "{read:?}");
    let own = folder.file();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(folder.load().unwrap_err().to_string().contains("other users can read it (mode 640)"));
}

#[test]
fn the_certificate_of_before_is_handed_on_until_it_ends() {
    let (_dir, folder) = folder();
    assert!(matches!(folder.rotate(&names(&["a.example"])), Err(Error::NoAuthority { .. })));
    let first = folder.init(&names(&["a.example"])).unwrap();
    let second = folder.rotate(&names(&["b.example"])).unwrap();
    let third = folder.rotate(&names(&["b.example"])).unwrap();
    let all = |now| folder.certificates(now).unwrap();
    assert_eq!(all(Timestamp::now()), [third.der(), second.der(), first.der()]);
    assert_eq!(all(third.ends()), [third.der()]);
    assert_ne!(second.name(), third.name());
    // Killed between the two files, it has the one that is there twice.
    fs::write(folder.file().with_file_name("earlier.pem"), pem(third.der())).unwrap();
    assert_eq!(all(Timestamp::now()), [third.der()]);
}

#[test]
fn a_damaged_file_is_an_error() {
    let (_dir, folder) = folder();
    let made = folder.init(&names(&["a.example"])).unwrap();
    let own = folder.file();
    let text = fs::read_to_string(&own).unwrap();
    each_text(&text, |damaged| {
        fs::write(&own, damaged).unwrap();
        assert!(folder.load().is_ok_and(|it| it == made) || folder.load().is_err());
        let _ = folder.certificates(Timestamp::now());
    });
    // The key of another one.
    let (_other_dir, other) = self::folder();
    other.init(&names(&["a.example"])).unwrap();
    let key = fs::read_to_string(other.file()).unwrap();
    let key = key.split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap();
    let (_, certificate) = text.split_once("-----END PRIVATE KEY-----\n").unwrap();
    fs::write(&own, format!("{key}{certificate}")).unwrap();
    assert!(folder.load().unwrap_err().to_string().contains("not that of the certificate"));
}

#[test]
fn what_a_server_shows_is_made_once_and_anew_before_it_ends() {
    let (_dir, folder) = folder();
    let authority = folder.init(&names(&["a.example"])).unwrap();
    let (leaves, now) = (Leaves::default(), Timestamp::now());
    let later = |hours: i64| Timestamp::from_second(now.as_second() + hours * 3600).unwrap();
    let config = |host: &str, now| leaves.config(&authority, host, now).unwrap();
    let first = config("a.example", now);
    assert!(std::sync::Arc::ptr_eq(&first, &config("a.example", later(11))));
    assert!(!std::sync::Arc::ptr_eq(&first, &config("b.a.example", now)));
    assert!(!std::sync::Arc::ptr_eq(&first, &config("a.example", later(12))));
    let after = leaves.config(&authority, "a.example", authority.ends()).unwrap_err();
    assert!(after.contains("`pkgcache ca rotate`"), "{after}");
    // Another authority's is not shown for this one.
    let known = config("a.example", now);
    let other = folder.rotate(&names(&["a.example"])).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&known, &leaves.config(&other, "a.example", now).unwrap()));
    for number in 0..2000 {
        config(&format!("{number}.a.example"), now);
    }
    assert!(leaves.len() <= 1024, "{}", leaves.len());
}

#[test]
fn a_servers_certificate_lasts_a_day_and_no_longer_than_its_authority() {
    let (_dir, folder) = folder();
    let authority = folder.init(&names(&["a.example"])).unwrap();
    let long = format!("{}.a.example", "x".repeat(63));
    for (name, now, seconds) in [
        ("a.example", Timestamp::now(), certificate::LEAF),
        (long.as_str(), Timestamp::from_second(authority.ends().as_second() - 60).unwrap(), 3660),
    ] {
        let by = (&authority.facts, &authority.key);
        let der = certificate::of_server(name, authority.key.public_key().as_ref(), by, now).unwrap();
        let read = Certificate::from_der(&der).unwrap();
        assert_eq!(read.to_der().unwrap(), der);
        let validity = read.tbs_certificate.validity;
        let [begins, ends] =
            [validity.not_before, validity.not_after].map(|it| it.to_unix_duration().as_secs());
        assert_eq!(ends - begins, u64::try_from(seconds).unwrap(), "{name}");
    }
}
