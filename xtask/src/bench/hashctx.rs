//! hashctx against what else tells whether a tree is the same: git, b3sum, tar.
//!
//! All files are in the page cache: nothing here measures a disk.

use camino::{Utf8Path, Utf8PathBuf};

use super::basics::{Bytes, lost, say, sh};
use super::race::{Contender, Race};
use super::{Size, inputs};
use larder::process::command::{Cmd, quoted};
use larder::process::runner::{RunError, Runner};
use larder::process::tools::Tools;

/// Megabytes that a key may take, whatever the number of files.
const MEMORY: u64 = 300;

/// Where everything is.
struct Place {
    tree: Utf8PathBuf,
    /// One large file is in it.
    single: Utf8PathBuf,
    store: Utf8PathBuf,
}

/// Makes the inputs, and says what is to be measured on them.
pub(super) fn races(
    tools: &Tools,
    runner: &Runner,
    folder: &Utf8Path,
    size: &Size,
) -> Result<Vec<Race>, RunError> {
    let [tree, single, store] = ["tree", "single", "store"].map(|name| folder.join(name));
    let place = Place { tree, single, store };
    say(&format!("writing {} files and one of {} MiB", size.files, size.large));
    inputs::tree(&place.tree, size.files, size.bytes).map_err(lost)?;
    std::fs::create_dir_all(&place.single).map_err(lost)?;
    inputs::large(&place.single.join("f"), size.large).map_err(lost)?;
    say("committing them to a git repository");
    runner.output(&repository(&place.tree))?;
    let of = format!("{} files, {}", size.files, Bytes(u64::from(size.files) * size.bytes as u64));
    let few = size.rounds.div_ceil(4);
    Ok(vec![
        Race {
            title: format!("nothing changed since the last key: {of}"),
            rounds: size.rounds,
            memory: Some(MEMORY),
            contenders: place.unchanged(tools),
        },
        Race {
            title: format!("one file changed: {of}"),
            rounds: size.rounds.div_ceil(2),
            memory: None,
            contenders: place.one_changed(tools),
        },
        Race {
            title: format!("nothing known yet: {of}"),
            rounds: few,
            memory: Some(MEMORY),
            contenders: place.cold(tools),
        },
        Race {
            title: format!("one file of {} MiB", size.large),
            rounds: few,
            memory: None,
            contenders: place.large(tools),
        },
    ])
}

/// Commits everything, and waits until nothing is so new that git and hashctx have to read it
/// again.
fn repository(tree: &Utf8Path) -> Cmd {
    let git = "git -c user.name=bench -c user.email=bench@localhost -c core.compression=0 -c gc.auto=0";
    sh(format!(
        "cd {} && printf '*.o\\n/build/\\n' >.gitignore && printf '.git\\n*.log\\n' >.dockerignore && \
         git init -q && {git} add -A && {git} commit -q -m bench && sleep 2.1 && git status >/dev/null",
        quoted(tree.as_str())
    ))
}

impl Place {
    fn hashctx(&self, tools: &Tools) -> Cmd {
        tools.hashctx().path(&self.tree).env("LARDER_DIR", self.store.as_str())
    }

    fn unchanged(&self, tools: &Tools) -> Vec<Contender> {
        let status = |name, args: &[&str]| {
            Contender::new(name, Cmd::new("git").arg("-C").path(&self.tree).arg("status").args(args.to_vec()))
        };
        vec![
            Contender::new("hashctx", self.hashctx(tools)),
            status("git status", &[]).limit(1.0),
            status("git status -uno", &["-uno"]),
        ]
    }

    fn one_changed(&self, tools: &Tools) -> Vec<Contender> {
        // After a while, so that the file is remembered again and the cache is written.
        let file = self.tree.join("d000/s00/f0000000");
        let change = sh(format!("echo x >>{}; sleep 2.1", quoted(file.as_str())));
        vec![
            Contender::new("hashctx", self.hashctx(tools)).before(change),
            Contender::new("hashctx, nothing changed", self.hashctx(tools)).limit(1.1),
        ]
    }

    fn cold(&self, tools: &Tools) -> Vec<Contender> {
        let tree = quoted(self.tree.as_str());
        let forget = Cmd::new("rm").arg("-rf").path(&self.store.join("contexts"));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let b3sum = format!("cd {tree} && git ls-files -z | xargs -0 -P{threads} b3sum >/dev/null");
        vec![
            Contender::new("hashctx", self.hashctx(tools)).before(forget),
            Contender::new("git ls-files | xargs b3sum", sh(b3sum)).limit(1.0),
            Contender::new("tar | sha256sum", sh(format!("tar -C {tree} --exclude=.git -c . | sha256sum")))
                .limit(1.0 / 3.0),
        ]
    }

    fn large(&self, tools: &Tools) -> Vec<Contender> {
        let ours = tools.hashctx().args(["--ignore", "none", "--no-stat-cache"]).path(&self.single);
        vec![
            Contender::new("hashctx", ours),
            // As fast, but for what a clock sees at random.
            Contender::new("b3sum", Cmd::new("b3sum").path(&self.single.join("f"))).limit(1.05),
        ]
    }
}
