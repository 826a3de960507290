//! A hub of models that a test plays, as the real one answers: redirects of large files to another
//! server whose addresses are signed anew each time, words of Xet, pages of lists.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use larder_tests::http::{Reply, Request, Site};
use larder_tests::parts::{HUGGINGFACE, installed};
use larder_tests::{Ran, Session};
use serde_json::{Value, json};

use crate::columns::noise;
use crate::served::Cache;

/// The repository, as URLs have it.
pub(super) const NAME: &str = "team/tiny";
/// Where its large file lies at the other server, without what signs for it.
pub(super) const BLOB: &str = "/blobs/weights";
/// Its commits, the older first.
pub(super) const COMMITS: [&str; 2] =
    ["a123456789abcdef0123456789abcdef01234567", "b123456789abcdef0123456789abcdef01234567"];

/// A file of the repository.
#[derive(Clone)]
struct File {
    bytes: Vec<u8>,
    /// By which the hub names it: of a large file SHA-256, of others git's name.
    name: String,
    is_large: bool,
}

#[derive(Default)]
struct State {
    /// The files of each commit.
    files: BTreeMap<&'static str, BTreeMap<&'static str, File>>,
    /// The commit that the branch `main` is.
    main: &'static str,
    /// The tokens that are let in, where not everybody is.
    tokens: Option<Vec<&'static str>>,
    /// So many addresses were signed.
    signed: u32,
}

/// The hub, and the server where its large files lie.
pub(crate) struct Hub<'a> {
    pub(super) session: &'a Session,
    pub(crate) site: Site,
    pub(crate) cdn: Site,
    state: Arc<Mutex<State>>,
}

impl<'a> Hub<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        let (site, cdn, state) = (Site::new(), Site::new(), Arc::new(Mutex::new(State::default())));
        let weights = noise("weights").repeat(5).into_bytes();
        for (commit, config) in COMMITS.into_iter().zip(["{\"layers\": 1}\n", "{\"layers\": 2}\n"]) {
            let mut files = BTreeMap::new();
            for (path, bytes) in [
                ("config.json", config.as_bytes()),
                ("weights.bin", &weights[..]),
                ("words/empty.txt", b""),
                ("words/list.txt", b"a b c\n"),
            ] {
                let is_large = path == "weights.bin";
                let name = name(session, bytes, is_large);
                files.insert(path, File { bytes: bytes.to_vec(), name, is_large });
            }
            state.lock().unwrap().files.insert(commit, files);
        }
        state.lock().unwrap().main = COMMITS[0];
        cdn.put(BLOB, weights);
        let (known, own, elsewhere) = (Arc::clone(&state), site.url(), cdn.url());
        site.guard(move |request| Some(answer(&mut known.lock().unwrap(), request, &own, &elsewhere)));
        Self { session, site, cdn, state }
    }

    /// The branch is another commit from now on.
    pub(super) fn moves(&self, commit: &'static str) {
        self.state.lock().unwrap().main = commit;
    }

    /// Nobody has access from now on but by these tokens.
    pub(crate) fn gate(&self, tokens: &[&'static str]) {
        self.state.lock().unwrap().tokens = Some(tokens.to_vec());
    }

    /// Turns a byte of a small file around, whose name stays.
    pub(crate) fn flip(&self, path: &'static str) {
        for files in self.state.lock().unwrap().files.values_mut() {
            let file = files.get_mut(path).unwrap();
            file.bytes[2] ^= 1;
        }
    }

    /// What a file of the older commit has to be.
    pub(super) fn content(&self, commit: &str, path: &str) -> Vec<u8> {
        self.state.lock().unwrap().files[commit][path].bytes.clone()
    }

    /// A cache in front of it.
    pub(super) fn cache(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more))
    }

    pub(super) fn settings(&self, more: &str) -> String {
        format!(
            "allow = [\"{}\"]\n{more}\n[pkgcache.upstream]\nhf = {{ url = \"{}\", kind = \"huggingface\" }}\n",
            self.cdn.authority(),
            self.site.url()
        )
    }

    pub(super) fn forget(&self) {
        self.site.forget();
        self.cdn.forget();
    }

    pub(crate) fn unplug(&self) {
        self.site.unplug();
        self.cdn.unplug();
    }

    /// What both were asked, in short.
    pub(crate) fn log(&self) -> Vec<String> {
        let all = self.site.log().into_iter().chain(self.cdn.log());
        all.map(|it| format!("{} {} {}", it.request.method, it.request.path, it.status)).collect()
    }

    /// A program of Python with the library, which keeps what it has in the folder `place`.
    pub(super) fn python(&self, endpoint: &str, place: &str, program: &str) -> Command {
        let mut command = self.session.program(installed(HUGGINGFACE));
        led(&mut command, self.session, place);
        command.args(["-c", program]).env("HF_ENDPOINT", endpoint);
        command
    }

    /// Fetches all files of a revision into a folder of its own.
    #[track_caller]
    pub(super) fn snapshot(&self, cache: &Cache<'_>, place: &str, revision: &str) -> Ran {
        let endpoint = format!("{}/hf", cache.url());
        Ran::of(&mut self.python(&endpoint, place, &snapshot(revision)))
    }

    /// The folder has all files of the commit, and nothing else.
    #[track_caller]
    pub(super) fn has_all(&self, place: &str, commit: &str) {
        let folder = self.session.path(place).join("hub/models--team--tiny/snapshots").join(commit);
        for path in ["config.json", "weights.bin", "words/empty.txt", "words/list.txt"] {
            let found = std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == self.content(commit, path), "{place}: {path} is not what it has to be");
        }
    }
}

/// The program that fetches all files of a revision.
pub(super) fn snapshot(revision: &str) -> String {
    format!(
        "from huggingface_hub import snapshot_download\nprint(snapshot_download('{NAME}', revision='{revision}'))"
    )
}

/// What the library is told of where it is, and to be quiet.
pub(super) fn led(command: &mut Command, session: &Session, place: &str) {
    command.env("HF_HOME", session.path(place)).env("HF_HUB_DISABLE_TELEMETRY", "1");
    command.env("HF_HUB_DISABLE_PROGRESS_BARS", "1").env("HF_HUB_ETAG_TIMEOUT", "30");
}

/// The name that the hub has for a file.
fn name(session: &Session, bytes: &[u8], is_large: bool) -> String {
    session.write("file", bytes);
    let line = if is_large { "sha256sum file | cut -d' ' -f1" } else { "git hash-object file" };
    session.run(line).ok().stdout().trim().to_owned()
}

/// What the hub says where somebody is not let in, or where something is not there.
fn refused(status: u16, code: &str, more: &str) -> Reply {
    let fields = format!("x-error-code: {code}\nx-error-message: {code} it is\n{more}");
    Reply { status, fields, body: b"no\n".to_vec() }
}

fn answer(state: &mut State, request: &Request, own: &str, cdn: &str) -> Reply {
    let path = request.path.split('?').next().unwrap();
    let interface = path.strip_prefix("/api/models/team/tiny");
    if let Some(rest) = interface {
        return described(state, rest, &request.path, own);
    }
    let file = path.strip_prefix("/team/tiny/resolve/").and_then(|rest| rest.split_once('/'));
    if path.starts_with("/team/old/resolve/") {
        let fields = format!("location: {}\n", path.replace("/team/old/", "/team/tiny/"));
        return Reply { status: 307, fields, body: Vec::new() };
    }
    let Some((revision, path)) = file else { return refused(404, "RepoNotFound", "") };
    let sent = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if let Some(tokens) = &state.tokens
        && !sent.is_some_and(|token| tokens.contains(&token))
    {
        return refused(if sent.is_some() { 403 } else { 401 }, "GatedRepo", "");
    }
    let commit = if revision == "main" { state.main } else { revision };
    let Some(files) = state.files.get(commit) else { return refused(404, "RevisionNotFound", "") };
    let commit = format!("x-repo-commit: {commit}\n");
    let Some(file) = files.get(path) else { return refused(404, "EntryNotFound", &commit) };
    let File { bytes, name, is_large } = file.clone();
    let xet = format!(
        "x-xet-hash: {0}\nx-xet-refresh-route: {own}/token\nlink: <{own}/api/models/team/tiny/xet-read-token/x>; rel=\"xet-auth\"\n",
        "c".repeat(64)
    );
    if !is_large {
        let fields = format!(
            "{commit}etag: \"{name}\"\ncontent-type: text/plain; charset=utf-8\naccept-ranges: bytes\n"
        );
        return Reply { status: 200, fields, body: bytes };
    }
    state.signed += 1;
    let fields = format!(
        "{commit}{xet}etag: \"{name}\"\nx-linked-etag: \"{name}\"\nx-linked-size: {}\nset-cookie: a=b\n\
         location: {cdn}{BLOB}?signature={}\n",
        bytes.len(),
        state.signed
    );
    Reply { status: 302, fields, body: b"it is elsewhere\n".to_vec() }
}

/// A description of the repository, or a list of its files in pages of two.
fn described(state: &State, rest: &str, whole: &str, own: &str) -> Reply {
    let mut parts = rest.trim_start_matches('/').split('/');
    let (what, revision) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("main"));
    let commit = if revision == "main" { state.main } else { revision };
    let Some(files) = state.files.get(commit) else { return refused(404, "RevisionNotFound", "") };
    let mut fields = "content-type: application/json; charset=utf-8\n".to_owned();
    let hash = "d".repeat(64);
    let body = match what {
        "tree" => {
            let entry = |(path, file): (&&str, &File)| {
                let mut entry =
                    json!({ "type": "file", "oid": "e".repeat(40), "size": file.bytes.len(), "path": path });
                if file.is_large {
                    entry["lfs"] = json!({ "oid": file.name, "size": file.bytes.len(), "pointerSize": 134 });
                    entry["xetHash"] = hash.clone().into();
                }
                entry
            };
            let from = if whole.contains("cursor=") { 2 } else { 0 };
            if from == 0 {
                let next = format!("{own}/api/models/team/tiny/tree/{revision}?recursive=true&cursor=x");
                fields.extend(["link: <", &next, ">; rel=\"next\"\n"]);
            }
            Value::from(files.iter().skip(from).take(2).map(entry).collect::<Vec<_>>())
        }
        "xet-read-token" => panic!("a client was led to Xet: {whole}"),
        _ => {
            let siblings: Vec<_> =
                files.keys().map(|path| json!({ "rfilename": path, "xetHash": hash })).collect();
            json!({
                "id": NAME, "sha": commit, "private": false, "xetEnabled": true, "siblings": siblings,
                "downloads": 1, "tags": [], "url": format!("{own}/team/tiny"),
            })
        }
    };
    Reply { status: 200, fields, body: body.to_string().into_bytes() }
}
