//! Paths of compose files: made absolute where it is known what they are relative to. Pure; follows
//! no links.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::merge::{as_build, as_pairs};
use super::yaml::{Map, Node, Value};

/// The folder that relative paths begin in, and the user's home.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a> {
    pub(super) folder: &'a Utf8Path,
    pub(super) home: Option<&'a str>,
}

impl Base<'_> {
    /// The path in full, without `.` and `..`.
    pub(super) fn full(&self, path: &str) -> Utf8PathBuf {
        let below_home = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match below_home.zip(self.home) {
            Some((rest, home)) => tidy(&Utf8Path::new(home).join(rest.trim_start_matches('/'))),
            None => tidy(&self.folder.join(path)),
        }
    }

    /// Makes the paths of a service absolute, as far as they matter for its image.
    pub(super) fn settle_service(&self, service: &mut Node) {
        let Some(map) = service.as_map_mut() else { return };
        let Some(build) = map.get_mut("build") else { return };
        *build = as_build(build.clone());
        let Some(build) = build.as_map_mut() else { return };
        if let Some(context) = build.get_mut("context") {
            self.settle(context, is_remote);
        }
        if let Some(contexts) = build.get_mut("additional_contexts") {
            *contexts = as_pairs(contexts.clone());
            let is_other = |text: &str| is_remote(text) || text.starts_with("service:");
            contexts
                .as_map_mut()
                .into_iter()
                .flat_map(Map::values_mut)
                .for_each(|node| self.settle(node, is_other));
        }
        if let Some(ssh) = build.get_mut("ssh") {
            *ssh = as_pairs(ssh.clone());
            ssh.as_map_mut()
                .into_iter()
                .flat_map(Map::values_mut)
                .for_each(|node| self.settle(node, |_| false));
        }
    }

    /// The same of all services of a file, and of its secrets.
    pub(super) fn settle_file(&self, file: &mut Node) {
        let Some(map) = file.as_map_mut() else { return };
        let services = map.get_mut("services").and_then(Node::as_map_mut);
        services.into_iter().flat_map(Map::values_mut).for_each(|service| self.settle_service(service));
        let secrets = map.get_mut("secrets").and_then(Node::as_map_mut);
        for secret in secrets.into_iter().flat_map(Map::values_mut) {
            if let Some(file) = secret.as_map_mut().and_then(|map| map.get_mut("file")) {
                self.settle(file, |_| false);
            }
        }
    }

    fn settle(&self, node: &mut Node, is_other: impl Fn(&str) -> bool) {
        if let Value::Text(text) = &node.value
            && !text.is_empty()
            && !is_other(text)
        {
            node.value = Value::Text(self.full(text).into_string());
        }
    }
}

/// Whether a context is an address and not a folder.
pub(super) fn is_remote(context: &str) -> bool {
    context.contains("://") || context.starts_with("github.com/") || context.starts_with("git@")
}

/// The path without `.` and `..`, as compose has it.
pub(super) fn tidy(path: &Utf8Path) -> Utf8PathBuf {
    let mut tidy = Utf8PathBuf::new();
    for part in path.components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => drop(tidy.pop()),
            part => tidy.push(part),
        }
    }
    tidy
}

/// The path as it is seen from a folder: relative where it is below it.
pub(super) fn seen_from(folder: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    match path.strip_prefix(folder) {
        Ok(below) if below.as_str().is_empty() => ".".into(),
        Ok(below) => below.to_owned(),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::{read, shown};

    #[test]
    fn paths_are_completed_where_they_are_paths() {
        let base = Base { folder: Utf8Path::new("/p/sub"), home: Some("/home/u") };
        for (path, full) in [
            (".", "/p/sub"),
            ("../x/./y", "/p/x/y"),
            ("/a/../b", "/b"),
            ("~/k", "/home/u/k"),
            ("~x", "/p/sub/~x"),
        ] {
            assert_eq!(base.full(path), full, "{path}");
        }
        let text = "services:\n  a: {build: ..}\n  b:\n    build:\n      context: https://x/y.git\n      ssh: [default, k=~/key]\n      \
                    additional_contexts: [src=lib, up=service:a, img=docker-image://x, odd=a:b]\n  c: {build: {target: x}}\n\
                    secrets: {s: {file: ./s}, t: {environment: T}}\n";
        let mut file = read(text, 0).expect("YAML").remove(0);
        base.settle_file(&mut file);
        assert_eq!(
            shown(&file),
            "{services: {a: {build: {context: /p}}, b: {build: {context: https://x/y.git, ssh: {default: , k: /home/u/key}, \
             additional_contexts: {src: /p/sub/lib, up: service:a, img: docker-image://x, odd: /p/sub/a:b}}}, c: {build: {target: x}}}, \
             secrets: {s: {file: /p/sub/s}, t: {environment: T}}}"
        );
        assert_eq!(seen_from(Utf8Path::new("/p"), Utf8Path::new("/p/a/b")), "a/b");
        assert_eq!(seen_from(Utf8Path::new("/p"), Utf8Path::new("/p")), ".");
        assert_eq!(seen_from(Utf8Path::new("/p"), Utf8Path::new("/pq")), "/pq");
    }
}
