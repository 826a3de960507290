//! Where the programs are that larder runs.
//!
//! Reads no environment: the folder to look in is the caller's to name.

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Engine;

use crate::process::command::Cmd;

/// The programs by the path, or the name on PATH, under which they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    hashctx: String,
    imgtar: String,
    gcctl: String,
    pkgcache: String,
    docker: String,
    podman: String,
    cargo: String,
    /// Variables that larder's own tools are run with.
    variables: Vec<(String, String)>,
}

impl Tools {
    /// The tools that lie in `beside` (larder's own folder), and the others by name, for PATH to
    /// find.
    ///
    /// Below `root`, the folder that the commands run in, paths are relative, as one would type
    /// them.
    #[must_use]
    pub fn find(beside: &Utf8Path, root: &Utf8Path) -> Self {
        let tool = |name: &str| beside_or_named(&beside.join(name), name, root);
        Self {
            hashctx: tool("hashctx"),
            imgtar: tool("imgtar"),
            gcctl: tool("gcctl"),
            pkgcache: tool("pkgcache"),
            docker: "docker".into(),
            podman: "podman".into(),
            cargo: "cargo".into(),
            variables: Vec::new(),
        }
    }

    /// With another command for an engine.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine, program: Option<&str>) -> Self {
        if let Some(program) = program {
            let own = match engine {
                Engine::Docker => &mut self.docker,
                Engine::Podman => &mut self.podman,
            };
            program.clone_into(own);
        }
        self
    }

    /// With a variable for larder's own tools.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn own(&self, program: &str) -> Cmd {
        self.variables.iter().fold(Cmd::new(program), |cmd, (name, value)| cmd.env(name, value))
    }

    /// Only programs of `folder`, engine and cargo too: for tests with stand-ins.
    #[must_use]
    pub fn all_in(folder: &Utf8Path) -> Self {
        let tool = |name: &str| folder.join(name).into_string();
        Self {
            hashctx: tool("hashctx"),
            imgtar: tool("imgtar"),
            gcctl: tool("gcctl"),
            pkgcache: tool("pkgcache"),
            docker: tool("docker"),
            podman: tool("podman"),
            cargo: tool("cargo"),
            variables: Vec::new(),
        }
    }

    /// The folder that the tools were found in, absolute; none where PATH decides. `root` as for
    /// `find`.
    #[must_use]
    pub fn folder(&self, root: &Utf8Path) -> Option<Utf8PathBuf> {
        let found = [&self.hashctx, &self.imgtar, &self.gcctl].map(|tool| Utf8Path::new(tool).parent());
        let folder = found.first().copied().flatten().filter(|folder| !folder.as_str().is_empty())?;
        found.iter().all(|other| *other == Some(folder)).then(|| root.join(folder))
    }

    /// A `hashctx` command.
    #[must_use]
    pub fn hashctx(&self) -> Cmd {
        self.own(&self.hashctx)
    }

    /// An `imgtar` command.
    #[must_use]
    pub fn imgtar(&self, job: &str) -> Cmd {
        self.own(&self.imgtar).arg(job)
    }

    /// A `gcctl` command.
    #[must_use]
    pub fn gcctl(&self, job: &str) -> Cmd {
        self.own(&self.gcctl).arg(job)
    }

    /// The program `gcctl`, for one that goes on by itself.
    #[must_use]
    pub fn gcctl_program(&self) -> &str {
        &self.gcctl
    }

    /// A `pkgcache` command.
    #[must_use]
    pub fn pkgcache(&self, job: &str) -> Cmd {
        self.own(&self.pkgcache).arg(job)
    }

    /// A command of `docker` or of `podman`.
    #[must_use]
    pub fn engine(&self, engine: Engine, job: &str) -> Cmd {
        Cmd::new(match engine {
            Engine::Docker => &self.docker,
            Engine::Podman => &self.podman,
        })
        .arg(job)
    }

    /// A `cargo` command.
    #[must_use]
    pub fn cargo(&self, job: &str) -> Cmd {
        Cmd::new(&self.cargo).arg(job)
    }
}

fn beside_or_named(path: &Utf8PathBuf, name: &str, root: &Utf8Path) -> String {
    if !path.is_file() {
        return name.to_owned();
    }
    match path.strip_prefix(root) {
        // A bare name would be looked for on PATH.
        Ok(relative) if relative.as_str().contains('/') => relative.to_string(),
        Ok(relative) => format!("./{relative}"),
        Err(_) => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn found(files: &[&str], beside: &str, root: &str, expected: &str) {
        let dir = tempfile::tempdir().expect("temp dir");
        let base = Utf8Path::from_path(dir.path()).expect("UTF-8");
        std::fs::create_dir_all(base.join(beside)).expect("dir");
        for file in files {
            std::fs::File::create(base.join(file)).expect("file");
        }
        let tools = Tools::find(&base.join(beside), &base.join(root));
        assert_eq!(tools.hashctx().program().replace(base.as_str(), "BASE"), expected);
    }

    #[test]
    fn a_tool_beside_larder_is_preferred() {
        found(&["bin/hashctx"], "bin", "project", "BASE/bin/hashctx");
    }

    #[test]
    fn a_path_below_the_project_is_relative() {
        found(&["p/target/debug/hashctx"], "p/target/debug", "p", "target/debug/hashctx");
        found(&["p/hashctx"], "p", "p", "./hashctx");
    }

    #[test]
    fn else_the_name_is_left_to_path() {
        found(&[], "bin", "project", "hashctx");
    }
}
