//! The bucket that several caches share: where it is, and how it is spoken with.

use std::fmt;
use std::time::Duration;

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use storekit::Age;
use toolkit::bucket::{Account, Address};
use toolkit::net::without_credentials;

use crate::error::Error;

/// How long a request waits for the bucket, if nothing else is said.
const TIME: Duration = Duration::from_secs(5);
/// How long it waits for another node that asks the upstream already.
const WAIT: Duration = Duration::from_secs(10);

/// A bucket, as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    /// Where it is.
    pub(crate) address: Address,
    /// For whom it takes this process.
    pub(crate) account: Account,
    /// Whether nothing is written to it.
    pub(crate) is_read_only: bool,
    /// So long an answer may keep a client waiting.
    pub(crate) time: Duration,
    /// So long a request waits for another node that asks the upstream.
    pub(crate) wait: Duration,
}

/// A bucket in larder.toml: its place, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSetting {
    /// Its place, without other settings.
    Url(String),
    /// With more.
    Table(RemoteTable),
}

/// The bucket's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RemoteTable {
    /// Where it is.
    pub url: String,
    /// Whether nothing is written to it.
    #[serde(default)]
    pub read_only: bool,
    /// Whether it may be another machine's without TLS.
    #[serde(default)]
    pub plain_http: bool,
    /// So long an answer may keep a client waiting.
    pub time: Option<Age>,
    /// So long a request waits for another node that asks the upstream.
    pub wait: Option<Age>,
}

impl<'de> Deserialize<'de> for RemoteSetting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RemoteSetting;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a bucket, such as `s3://BUCKET/PREFIX`, or a table with its `url`")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<RemoteSetting, E> {
                Ok(RemoteSetting::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RemoteSetting, A::Error> {
                RemoteTable::deserialize(MapAccessDeserializer::new(table)).map(RemoteSetting::Table)
            }
        }

        from.deserialize_any(Either)
    }
}

impl RemoteTable {
    /// The bucket, spoken with as this account. `endpoint` is the server where the place names
    /// none.
    ///
    /// # Errors
    /// [`Error::NotARemote`].
    pub(crate) fn config(&self, account: Account, endpoint: Option<&str>) -> Result<RemoteConfig, Error> {
        let wrong = |reason| Error::NotARemote { text: without_credentials(&self.url), reason };
        let address = address(&self.url, &account.region, endpoint).map_err(wrong)?;
        if !(address.origin.tls || address.origin.is_loopback() || self.plain_http) {
            return Err(wrong("it is another machine without TLS: `plain-http = true` allows that"));
        }
        Ok(RemoteConfig {
            address,
            account,
            is_read_only: self.read_only,
            time: self.time.map_or(TIME, |age| age.0),
            wait: self.wait.map_or(WAIT, |age| age.0),
        })
    }
}

/// `s3://BUCKET/PREFIX`, or `https://HOST/BUCKET/PREFIX`, with or without `s3:` before it as
/// `imgtar --tier` has it.
fn address(text: &str, region: &str, endpoint: Option<&str>) -> Result<Address, &'static str> {
    let Some(path) = text.strip_prefix("s3://") else {
        return Address::parse(text.strip_prefix("s3:").unwrap_or(text));
    };
    let amazon = || format!("https://s3.{region}.amazonaws.com");
    let endpoint = endpoint.map_or_else(amazon, str::to_owned);
    Address::parse(&format!("{}/{path}", endpoint.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, endpoint: Option<&str>, expected: &str) {
        let table = RemoteTable { url: url.to_owned(), ..RemoteTable::default() };
        let found = table.config(Account::default(), endpoint).map(|it| it.address.to_string());
        assert_eq!(found.unwrap_or_default(), expected, "{url} {endpoint:?}");
    }

    #[test]
    fn a_bucket_has_the_words_of_tiers_or_those_of_its_store() {
        check("https://s3.example/team/cache", None, "https://s3.example/team/cache");
        check("s3:https://s3.example/team", None, "https://s3.example/team");
        check("s3://team/cache", None, "https://s3.us-east-1.amazonaws.com/team/cache");
        check("s3://team/cache/", Some("https://s3.example:9000/"), "https://s3.example:9000/team/cache");
        check("http://127.0.0.1:9000/team", None, "http://127.0.0.1:9000/team");
        for wrong in ["", "s3://", "s3:team", "team", "https://s3.example", "https://me:it@s3.example/team"] {
            check(wrong, None, "");
        }
    }

    #[test]
    fn another_machine_without_tls_has_to_be_allowed() {
        check("http://s3.example/team", None, "");
        let table =
            RemoteTable { url: "http://s3.example/team".into(), plain_http: true, ..RemoteTable::default() };
        assert!(table.config(Account::default(), None).is_ok());
    }
}
