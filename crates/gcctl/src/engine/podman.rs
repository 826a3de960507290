//! What podman tells of its store: `podman images` and `podman ps`.
//!
//! It keeps no build cache beside images: the steps of builds are images without a name.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use super::size::dated;
use super::{Engine, Item, What};
use crate::error::Result;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    #[serde(default)]
    parent_id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    containers: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    created: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    size: Option<Size>,
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "rwSize", default)]
    own: u64,
}

pub(super) fn items(engine: &Engine) -> Result<Vec<Item>> {
    let images = engine.ask(&["images", "--all", "--no-trunc", "--format", "json"])?;
    let containers =
        engine.ask(&["ps", "--all", "--external", "--size", "--no-trunc", "--format", "json"])?;
    read(&images, &containers).map_err(|error| engine.unclear(&error))
}

fn read(images: &str, containers: &str) -> serde_json::Result<Vec<Item>> {
    let images: Vec<Image> = serde_json::from_str::<Option<_>>(images)?.unwrap_or_default();
    let containers: Vec<Container> = serde_json::from_str::<Option<_>>(containers)?.unwrap_or_default();
    let used: BTreeSet<&str> = containers.iter().map(|it| it.image_id.as_str()).collect();
    // What another image was built on goes only after that.
    let parents: BTreeSet<&str> = images.iter().map(|it| it.parent_id.as_str()).collect();
    // Of an image with several names, podman prints a row for each, and all names in each.
    let mut seen = BTreeSet::new();
    let image = |row: &Image| Item {
        what: What::Image,
        id: row.id.clone(),
        names: sorted(row.names.clone()),
        own: row.size,
        since: Timestamp::from_second(row.created).ok().and_then(dated),
        in_use: row.containers > 0 || used.contains(row.id.as_str()) || parents.contains(row.id.as_str()),
    };
    let container = |row: &Container| Item {
        what: What::Container,
        id: row.id.clone(),
        names: sorted(row.names.clone()),
        own: row.size.as_ref().map_or(0, |size| size.own),
        since: Timestamp::from_second(row.created).ok(),
        // A working container of a build says `storage`: the build may run.
        in_use: !matches!(row.state.as_str(), "exited" | "stopped"),
    };
    let images = images.iter().filter(|row| seen.insert(row.id.clone())).map(image);
    Ok(images.chain(containers.iter().map(container)).collect())
}

fn sorted(names: Option<Vec<String>>) -> Vec<String> {
    let mut names = names.unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of podman 4.3.
    #[test]
    fn what_podman_tells_is_understood() {
        let images = r#"[
            {"Id":"aa","ParentId":"","Size":204004589,"Containers":0,"Names":["localhost/b:1","localhost/a:1"],"Created":1796042101},
            {"Id":"aa","ParentId":"","Size":204004589,"Containers":0,"Names":["localhost/b:1","localhost/a:1"],"Created":1796042101},
            {"Id":"bb","ParentId":"aa","Size":5,"Containers":0,"Dangling":true,"Created":1796042101},
            {"Id":"cc","ParentId":"","Size":6,"Containers":0,"Names":null,"Created":1796042101}]"#;
        let containers = r#"[
            {"Id":"c1","Names":["one"],"ImageID":"cc","State":"exited","Created":1796042101,"Size":{"rootFsSize":9,"rwSize":7}},
            {"Id":"c2","Names":["two"],"ImageID":"cc","State":"running","Created":1796042101,"Size":null},
            {"Id":"c3","Names":["work"],"ImageID":"cc","State":"storage","Created":1796042101}]"#;
        let items = read(images, containers).unwrap();
        let row = |item: &Item| (item.id.clone(), item.names.join(" "), item.own, item.in_use);
        let rows: Vec<_> = items.iter().map(row).collect();
        let expected = [
            ("aa", "localhost/a:1 localhost/b:1", 204_004_589, true),
            ("bb", "", 5, false),
            ("cc", "", 6, true),
            ("c1", "one", 7, false),
            ("c2", "two", 0, true),
            ("c3", "work", 0, true),
        ];
        assert_eq!(rows, expected.map(|(id, names, own, used)| (id.to_owned(), names.to_owned(), own, used)));
        assert_eq!(items[0].since, Timestamp::from_second(1_796_042_101).ok());
    }

    #[test]
    fn an_empty_engine_has_nothing() {
        assert_eq!(read("[]", "null").unwrap(), []);
        assert!(read("", "[]").is_err());
    }
}
