//! A cache, and the upstreams behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use larder_tests::http::{Answer, Exchange, Site, connect, free_address};
use larder_tests::{Ran, Server, Session, until_some};
use serde_json::Value;

/// The upstreams of one kind of client, and the cache that it is led to.
pub(crate) struct World {
    pub(crate) session: Session,
    /// Where the indexes are.
    pub(crate) site: Site,
    /// Where the files lie, if that is another host.
    files: Option<Site>,
    /// The index documents' paths at their site.
    pub(crate) indexes: Vec<String>,
    /// The files' paths at their site, and below the mount.
    pub(crate) artifacts: Vec<(String, String)>,
    /// What is at these paths.
    contents: BTreeMap<String, Vec<u8>>,
    /// The name of the mount.
    pub(crate) mount: &'static str,
    /// The upstream's path.
    root: String,
    /// What is mounted, as a line of larder.toml.
    line: String,
    listen: SocketAddr,
    server: Option<Server>,
}

impl World {
    /// One without indexes and files. `kind` is what larder.toml calls the client's, and `more`
    /// what else it says of the mount.
    pub(crate) fn new(kind: &'static str, below: &str, more: &str, files: Option<Site>) -> Self {
        let (session, site) = (Session::new(), Site::new());
        let line = format!("{kind} = {{ url = \"{}{below}\", kind = \"{kind}\"{more} }}", site.url());
        let (listen, root) = (free_address(), below.to_owned());
        let (indexes, artifacts, contents) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self {
            session,
            site,
            files,
            indexes,
            artifacts,
            contents,
            mount: kind,
            root,
            line,
            listen,
            server: None,
        }
    }

    /// Puts an index document there, with these fields.
    pub(crate) fn index(&mut self, path: &str, fields: &str, document: impl Into<Vec<u8>>) {
        let document = document.into();
        self.site.put_with(path, fields, document.clone());
        self.contents.insert(path.to_owned(), document);
        self.indexes.push(path.to_owned());
    }

    /// Puts a file there, which is found at the path `below` the mount.
    pub(crate) fn artifact(&mut self, path: &str, below: String, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.files().put(path, bytes.clone());
        self.contents.insert(path.to_owned(), bytes);
        self.artifacts.push((path.to_owned(), below));
    }

    /// What was put at this path.
    pub(crate) fn content(&self, path: &str) -> Vec<u8> {
        self.contents[path].clone()
    }

    /// Where the files lie.
    pub(crate) fn files(&self) -> &Site {
        self.files.as_ref().unwrap_or(&self.site)
    }

    /// Starts the cache, again where it ran; what it has stored stays.
    pub(crate) fn serve(&mut self, more: &str) {
        if let Some(mut server) = self.server.take() {
            server.signal("TERM");
            assert_eq!(server.wait(), Some(0));
        }
        let (listen, line) = (self.listen, &self.line);
        let hosts: Vec<_> = [&self.site, self.files()].iter().map(|site| site.authority()).collect();
        let text = format!(
            "[pkgcache]\nlisten = \"{listen}\"\nallow = {hosts:?}\n{more}\n[pkgcache.upstream]\n{line}\n"
        );
        self.session.write("larder.toml", text);
        self.server = Some(Server::new(self.session.start("exec pkgcache serve")));
    }

    /// The URL of the mount, with `/` at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}/", self.listen, self.mount)
    }

    /// The URL of the cache itself, as a proxy.
    pub(crate) fn proxy(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// A path below the mount.
    pub(crate) fn below(&self, path: &str) -> String {
        format!("/{}{path}", self.mount)
    }

    /// Asks the cache; `target` is a path or a URL.
    pub(crate) fn ask(&self, method: &str, target: &str, fields: &str) -> Answer {
        use std::io::{BufReader, Write};
        let mut stream = connect(&self.listen.to_string());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{fields}\r\n",
            self.listen
        );
        stream.write_all(head.as_bytes()).unwrap();
        Answer::read(&mut BufReader::new(stream), method)
    }

    /// What is stored, as `ls` says it.
    pub(crate) fn stored(&self) -> Vec<Value> {
        self.session.run("pkgcache ls --json").ok().rows()
    }

    /// What is stored of an upstream's URL; nothing where that is not stored.
    pub(crate) fn stored_of(&self, url: &str) -> Vec<Value> {
        let found = self.stored().into_iter().find(|row| row["url"] == url);
        found.map_or(Vec::new(), |row| row["responses"].as_array().unwrap().clone())
    }

    /// Who vouches for what is stored of an upstream's URL. It is stored a moment after its last
    /// byte was handed on.
    pub(crate) fn level_of(&self, url: &str) -> Value {
        until_some(format_args!("{url} is stored"), || {
            self.stored_of(url).first().map(|stored| stored["level"].clone())
        })
    }

    /// How many stored URLs have a body of this size, once one has.
    pub(crate) fn entries_of(&self, size: usize) -> usize {
        until_some("the body is stored", || {
            let has = |row: &&Value| row["responses"].as_array().unwrap().iter().any(|it| it["size"] == size);
            let count = self.stored().iter().filter(has).count();
            (count > 0).then_some(count)
        })
    }

    /// The upstream's own URL, with `/` at its end.
    pub(crate) fn upstream(&self) -> String {
        format!("{}{}", self.site.url(), self.root)
    }

    /// The upstream's URL of an index.
    pub(crate) fn index_url(&self, path: &str) -> String {
        format!("{}{path}", self.site.url())
    }

    /// The same of a file, as the store spells it.
    pub(crate) fn file_url(&self, path: &str) -> String {
        format!("{}{}", self.files().url(), path.replace("%2B", "+"))
    }

    /// Makes all indexes stale.
    pub(crate) fn age(&self) {
        for path in &self.indexes {
            self.session.run(&format!("pkgcache refresh '{}'", self.index_url(path))).ok();
        }
    }

    /// Forgets what the upstreams were asked.
    pub(crate) fn forget(&self) {
        self.site.forget();
        self.files().forget();
    }

    /// What the upstreams were asked.
    pub(crate) fn log(&self) -> Vec<Exchange> {
        self.site.log().into_iter().chain(self.files.iter().flat_map(Site::log)).collect()
    }

    /// Cuts the upstreams off.
    pub(crate) fn unplug(&self) {
        self.site.unplug();
        self.files().unplug();
    }

    /// Ends that, and whatever else goes wrong.
    pub(crate) fn heal(&self) {
        self.site.heal();
        self.files().heal();
    }

    /// A program in a new folder of its own, which is its home as well.
    pub(crate) fn client(&self, place: &str, program: &str, words: &[&str]) -> Command {
        let folder = self.session.path(place);
        std::fs::create_dir_all(folder.join("home")).unwrap();
        let mut command = self.session.program(program);
        command.args(words).current_dir(&folder).env("HOME", folder.join("home"));
        command.env("CI", "1").stdin(Stdio::null());
        command
    }

    /// Runs it.
    #[track_caller]
    pub(crate) fn run(mut command: Command) -> Ran {
        Ran::of(&mut command)
    }
}
