//! The project's git repository: where it is, which commits it knows, and which saved images are
//! the project's by that.
//!
//! Writes nothing, and asks no network. Limit: of projects without git, and of repositories without
//! a remote, nothing but commits tells them apart.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use storekit::Origin;

use crate::process::command::Cmd;
use crate::process::runner::Runner;

/// What git may take for an answer: it is asked nothing that needs a network.
const PATIENCE: Duration = Duration::from_secs(10);

/// How near a saved image is to the project, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kin {
    /// It is the project's.
    Own,
    /// It was made from a commit that the repository knows: of another folder, or of a fork.
    Shared,
    /// Nothing tells.
    Unknown,
    /// It is another project's.
    Foreign,
}

/// The repository, asked once it is needed.
pub(crate) struct Repository<'a> {
    runner: &'a Runner,
    told: OnceLock<Told>,
}

/// What git says of it.
#[derive(Debug, Default)]
struct Told {
    is_there: bool,
    /// Whether commits are left out.
    is_shallow: bool,
    /// Where it is, and the folder of larder.toml in it.
    project: Option<String>,
}

impl<'a> Repository<'a> {
    /// That of the runner's folder; git is not asked yet.
    pub(crate) fn new(runner: &'a Runner) -> Self {
        Self { runner, told: OnceLock::new() }
    }

    /// What the project is called: where its repository is, without scheme and credentials, and the
    /// folder of larder.toml in it. None where there is no git, or no remote.
    pub(crate) fn project(&self) -> Option<&str> {
        self.told().project.as_deref()
    }

    /// How near each of the images is, by where it came from.
    pub(crate) fn kin(&self, origins: &[&Origin]) -> Vec<Kin> {
        let is_own =
            |origin: &Origin| origin.project.as_ref().is_some_and(|own| Some(own.as_str()) == self.project());
        let asked = origins.iter().filter(|origin| !is_own(origin)).filter_map(|origin| commit(origin));
        let known = self.known(&asked.collect());
        let kin = |origin: &&Origin| {
            let Told { is_there, is_shallow, .. } = self.told();
            match (commit(origin), &origin.project) {
                _ if is_own(origin) => Kin::Own,
                (Some(commit), _) if known.contains(commit) => Kin::Shared,
                (_, Some(_)) if *is_there => Kin::Foreign,
                // A repository without a remote that has all of its commits.
                (Some(_), None) if *is_there && !is_shallow && self.project().is_none() => Kin::Foreign,
                _ => Kin::Unknown,
            }
        };
        origins.iter().map(kin).collect()
    }

    /// Those of the commits that the repository has.
    fn known(&self, commits: &BTreeSet<&str>) -> BTreeSet<String> {
        if commits.is_empty() || !self.told().is_there {
            return BTreeSet::new();
        }
        // A commit that a partial clone lacks is not fetched.
        let ask = ["rev-list", "--no-walk=unsorted", "--ignore-missing"];
        let said = self.ask(&[&ask[..], &commits.iter().copied().collect::<Vec<_>>()].concat());
        said.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn told(&self) -> &Told {
        self.told.get_or_init(|| {
            let Some(said) = self.ask(&["rev-parse", "--is-shallow-repository", "--show-prefix"]) else {
                return Told::default();
            };
            let mut lines = said.lines();
            let is_shallow = lines.next() == Some("true");
            let prefix = lines.next().unwrap_or_default();
            let remotes = self.ask(&["config", "--get-regexp", r"^remote\..*\.url$"]).unwrap_or_default();
            let project = remote(&remotes).and_then(address).map(|address| joined(&address, prefix));
            Told { is_there: true, is_shallow, project }
        })
    }

    fn ask(&self, args: &[&str]) -> Option<String> {
        let git = Cmd::new("git").args(args.iter().copied()).env("GIT_NO_LAZY_FETCH", "1");
        // An older git fetches all the same what a partial clone lacks.
        let git = git.env("GIT_TERMINAL_PROMPT", "0").within(Some(PATIENCE));
        let (status, said) = self.runner.ask(&git).ok()?;
        status.success().then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

/// The commit of an image, if it is one.
fn commit(origin: &Origin) -> Option<&str> {
    let commit = origin.commit.as_ref()?.as_str().trim_end_matches('+');
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(commit)
}

/// The URL of the remote `origin`, else of the only one; `said` has a line `remote.NAME.url URL`
/// for each.
fn remote(said: &str) -> Option<&str> {
    let mut remotes = said.lines().filter_map(|line| line.split_once(' '));
    if let Some((_, url)) = remotes.clone().find(|(name, _)| *name == "remote.origin.url") {
        return Some(url);
    }
    let (_, url) = remotes.next()?;
    remotes.next().is_none().then_some(url)
}

/// Where a repository is, the same however it is reached: `git.example/team/app` of
/// `https://user:secret@git.example/team/app.git` and of `git@git.example:team/app`. None of a
/// folder of this machine, and of what a helper of git's is told (`ext::…`): that may be a secret.
fn address(url: &str) -> Option<String> {
    let before = url.split("://").next().unwrap_or_default();
    if before.contains("::") || url.contains(char::is_whitespace) {
        return None;
    }
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    // A name of a user in which a slash is not written as `%2F`.
    if rest.get(at..).is_some_and(|path| path.contains('@')) {
        return None;
    }
    let (authority, path) = match rest.get(..at).unwrap_or_default().rsplit_once('@') {
        Some((_, host)) => (host, rest.get(at..).unwrap_or_default()),
        None => rest.split_at(at),
    };
    let (host, first) = match (scheme, authority.split_once(':')) {
        ("file", _) | ("", None) => return None,
        // `host:path`, as ssh has it.
        ("", Some((host, first))) => (host.to_owned(), first),
        _ if authority.starts_with('[') => (authority.to_owned(), ""),
        (scheme, Some((host, port)))
            if matches!((scheme, port), ("ssh" | "git+ssh", _) | ("https", "443") | ("http", "80")) =>
        {
            (host.to_owned(), "")
        }
        _ => (authority.to_owned(), ""),
    };
    let path = format!("{first}{path}");
    let path = path.trim_matches('/').trim_end_matches(".git").trim_end_matches('/');
    let is_whole = !host.is_empty() && !path.is_empty();
    is_whole.then(|| format!("{}/{path}", host.to_lowercase()))
}

fn joined(address: &str, prefix: &str) -> String {
    match prefix.trim_end_matches('/') {
        "" => address.to_owned(),
        folder => format!("{address}/{folder}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_one_address_however_it_is_reached() {
        for url in [
            "https://git.example/team/app.git",
            "https://user:secret@git.example/team/app",
            "https://Git.Example:443/team/app/",
            "ssh://git@git.example:2222/team/app.git",
            "git@git.example:team/app.git",
            "git.example:/team/app",
            "https://git.example/team/app?token=secret",
        ] {
            assert_eq!(address(url).as_deref(), Some("git.example/team/app"), "{url}");
        }
        assert_eq!(address("http://h:8080/a/b").as_deref(), Some("h:8080/a/b"));
        assert_eq!(address("ssh://git@[::1]:22/a").as_deref(), Some("[::1]:22/a"));
        for local in [
            "",
            "/srv/app.git",
            "../app",
            "file:///srv/app",
            "https://",
            "host:",
            "https://host/.git",
            "ext::ssh -i secret %S /app",
            "helper::https://secret@host/a",
            "https://bob:se/cret@host/a",
        ] {
            assert_eq!(address(local), None, "{local}");
        }
    }

    #[test]
    fn of_several_remotes_origin_counts() {
        let two = "remote.a.url https://h/a\nremote.b.url https://h/b\n";
        assert_eq!(remote(two), None);
        assert_eq!(remote("remote.a.url https://h/a\n"), Some("https://h/a"));
        assert_eq!(remote(&format!("{two}remote.origin.url https://h/o\n")), Some("https://h/o"));
        assert_eq!(remote(""), None);
    }

    #[test]
    fn the_folder_of_larder_toml_belongs_to_the_project() {
        assert_eq!(joined("h/a", "services/b/"), "h/a/services/b");
        assert_eq!(joined("h/a", ""), "h/a");
    }

    #[test]
    fn only_an_id_is_asked_for() {
        let of = |text: &str| Origin { commit: text.parse().ok(), ..Origin::default() };
        let id = "5aad80c0cc2b6f0b0ba0ff4bdd35b1c1d1ed7d4c";
        assert_eq!(commit(&of(&format!("{id}+"))), Some(id));
        for other in ["--all", "HEAD", "main", &id[1..]] {
            assert_eq!(commit(&of(other)), None, "{other}");
        }
    }
}
