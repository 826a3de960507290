//! What docker tells of its store: `docker system df -v`.
//!
//! Source: docker/cli, `cli/command/formatter/disk_usage.go`: the columns of `--format '{{json
//! .}}'` since 18.09.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::size::{bytes, dated, moment};
use super::{Engine, Item, What};
use crate::error::Result;

/// So many images are asked about at once.
const AT_ONCE: usize = 500;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    images: Option<Vec<Image>>,
    containers: Option<Vec<Container>>,
    #[serde(default)]
    build_cache: Option<Vec<Step>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    #[serde(rename = "ID")]
    id: String,
    repository: String,
    tag: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    containers: String,
    #[serde(default)]
    unique_size: String,
    #[serde(default)]
    created_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    names: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    created_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Step {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    in_use: String,
    /// Whether an image has it, too: then nothing is free when it goes.
    #[serde(default)]
    shared: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    last_used_at: String,
}

pub(super) fn items(engine: &Engine) -> Result<Vec<Item>> {
    let text = engine.ask(&["system", "df", "-v", "--format", "{{json .}}"])?;
    let mut items = read(&text).map_err(|error| engine.unclear(&error))?;
    let images: Vec<&str> =
        items.iter().filter(|item| item.what == What::Image).map(|item| &*item.id).collect();
    let mut named = BTreeMap::new();
    for some in images.chunks(AT_ONCE) {
        let format = "{{.Id}} {{.Metadata.LastTagTime.Unix}}";
        let told = engine.told(&[&["image", "inspect", "--format", format], some].concat())?;
        named.extend(told.lines().filter_map(name_time));
    }
    for item in items.iter_mut().filter(|item| item.what == What::Image) {
        item.since = item.since.max(named.get(&item.id).copied());
    }
    Ok(items)
}

/// An image, and when it got its last name. `None` where it never had one.
fn name_time(line: &str) -> Option<(String, Timestamp)> {
    let (id, seconds) = line.split_once(' ')?;
    let time = Timestamp::from_second(seconds.parse().ok()?).ok()?;
    (time > Timestamp::UNIX_EPOCH).then(|| (id.to_owned(), time))
}

fn read(text: &str) -> serde_json::Result<Vec<Item>> {
    let Told { images, containers, build_cache } = serde_json::from_str(text)?;
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    for row in images.unwrap_or_default() {
        let name = row.name();
        let image = items.entry(row.id.clone()).or_insert_with(|| row.item());
        image.names.extend(name);
        image.names.sort();
    }
    let containers = containers.unwrap_or_default().into_iter().map(Container::item);
    let steps = build_cache.unwrap_or_default().into_iter().map(Step::item);
    Ok(items.into_values().chain(containers).chain(steps).collect())
}

impl Image {
    /// What this row calls it.
    fn name(&self) -> Option<String> {
        let is_there = |text: &str| !text.is_empty() && text != "<none>";
        match (is_there(&self.repository), is_there(&self.tag), is_there(&self.digest)) {
            (true, true, _) => Some(format!("{}:{}", self.repository, self.tag)),
            (true, false, true) => Some(format!("{}@{}", self.repository, self.digest)),
            // Pulled by a digest that is not told: it has a name, and none that is known.
            (true, false, false) => Some(self.id.clone()),
            (false, ..) => None,
        }
    }

    fn item(&self) -> Item {
        Item {
            what: What::Image,
            id: self.id.clone(),
            names: Vec::new(),
            own: bytes(&self.unique_size).unwrap_or(0),
            since: moment(&self.created_at).and_then(dated),
            in_use: self.containers != "0",
        }
    }
}

impl Container {
    fn item(self) -> Item {
        Item {
            what: What::Container,
            names: self.names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            own: bytes(&self.size).unwrap_or(0),
            since: moment(&self.created_at),
            in_use: !matches!(self.state.as_str(), "exited" | "dead"),
            id: self.id,
        }
    }
}

impl Step {
    fn item(self) -> Item {
        let own = if self.shared == "true" { 0 } else { bytes(&self.size).unwrap_or(0) };
        let used = moment(&self.last_used_at).or_else(|| moment(&self.created_at));
        Item {
            what: What::Build,
            // A star marks one that can change still.
            id: self.id.trim_end_matches('*').to_owned(),
            names: vec![self.description],
            own,
            since: used,
            in_use: self.in_use != "false",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of docker 20.10.
    const TOLD: &str = r#"{"Images":[
        {"Containers":"0","CreatedAt":"2026-11-30 12:40:43 +0000 UTC","Digest":"","ID":"sha256:aa","Repository":"app","SharedSize":"397.1MB","Size":"430MB","Tag":"1","UniqueSize":"32.93MB","VirtualSize":"430MB"},
        {"Containers":"0","CreatedAt":"2026-11-30 12:40:43 +0000 UTC","Digest":"","ID":"sha256:aa","Repository":"app","Tag":"0.9","UniqueSize":"32.93MB"},
        {"Containers":"2","CreatedAt":"2026-11-30 12:40:43 +0000 UTC","Digest":"<none>","ID":"sha256:bb","Repository":"<none>","Tag":"<none>","UniqueSize":"0B"},
        {"Containers":"0","CreatedAt":"","Digest":"sha256:dd","ID":"sha256:cc","Repository":"debian","Tag":"<none>","UniqueSize":"N/A"}],
        "Containers":[
        {"CreatedAt":"2026-11-30 12:07:00 +0000 UTC","ID":"c1","Names":"one,two","Size":"0B (virtual 204MB)","State":"exited"},
        {"CreatedAt":"2026-11-30 12:07:00 +0000 UTC","ID":"c2","Names":"up","Size":"12kB","State":"running"},
        {"CreatedAt":"2026-11-30 12:07:00 +0000 UTC","ID":"c3","Names":"made","Size":"12kB","State":"created"}],
        "Volumes":[{"Name":"data"}],
        "BuildCache":[
        {"CacheType":"regular","CreatedAt":"2026-11-30 12:42:12 +0000 UTC","Description":"local source","ID":"s1*","InUse":"true","LastUsedAt":"","Shared":"false","Size":"23B"},
        {"CreatedAt":"2026-11-30 12:42:12 +0000 UTC","Description":"RUN make","ID":"s2","InUse":"false","LastUsedAt":"2026-11-30 13:00:00 +0000 UTC","Shared":"true","Size":"5MB"}]}"#;

    #[test]
    fn what_docker_tells_is_understood() {
        let items = read(TOLD).unwrap();
        let row = |item: &Item| (item.what, item.id.clone(), item.names.join(" "), item.own, item.in_use);
        let rows: Vec<_> = items.iter().map(row).collect();
        let (image, container, build) = (What::Image, What::Container, What::Build);
        let expected = [
            (image, "sha256:aa", "app:0.9 app:1", 32_930_000, false),
            (image, "sha256:bb", "", 0, true),
            (image, "sha256:cc", "debian@sha256:dd", 0, false),
            (container, "c1", "one two", 0, false),
            (container, "c2", "up", 12_000, true),
            (container, "c3", "made", 12_000, true),
            (build, "s1", "local source", 23, true),
            (build, "s2", "RUN make", 0, false),
        ];
        let expected =
            expected.map(|(what, id, names, own, used)| (what, id.to_owned(), names.to_owned(), own, used));
        assert_eq!(rows, expected);
        assert_eq!(items[7].since, Some("2026-11-30T13:00:00Z".parse().unwrap()));
        assert!(items[1].is_dangling() && !items[2].is_dangling());
        assert!(items.iter().all(|item| item.names != ["data"]), "no volume");
    }

    #[test]
    fn an_image_is_as_old_as_its_last_name() {
        assert_eq!(
            name_time("sha256:aa 5"),
            Some(("sha256:aa".to_owned(), Timestamp::from_second(5).unwrap()))
        );
        // Of an image that never had a name.
        assert_eq!(name_time("sha256:aa -62135596800"), None);
        assert!(name_time("").is_none() && name_time("sha256:aa x").is_none());
    }

    #[test]
    fn an_empty_engine_has_nothing() {
        assert_eq!(read(r#"{"Images":null,"Containers":[],"Volumes":null,"BuildCache":null}"#).unwrap(), []);
        assert!(read("").is_err() && read("[]").is_err());
    }
}
