//! The names that bakes gave to images in this machine's engines, for each project: so that those
//! are taken away which nothing names any more.
//!
//! They are noted in a folder of the user's, a file for each project, and not in the project: a
//! checkout may bring whatever it likes. A name goes only where no other project's note has it, and
//! while no bake of compose files runs. Limit: another user's checkout of the same project shares
//! its names with this one, and is not known of.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use storekit::files::replace::{Durability, read_capped, replace};
use toolkit::Engine;

use crate::config::names::is_name;
use crate::note;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// No note is larger: 4 MiB.
const LARGEST: u64 = 4 << 20;

/// How the names of notes begin.
const KIND: &str = "pinned";

/// The file that is locked: shared while a project is baked, exclusively while names are taken
/// away.
const LOCK: &str = "lock";

/// A name in an engine.
type Name = (Engine, String);

/// The names of one project.
pub(super) struct Pinned {
    /// Where the notes of all projects are.
    notes: Option<Utf8PathBuf>,
    project: Utf8PathBuf,
}

/// While this is held, no name is taken away.
#[must_use = "names may be taken away when this is dropped"]
pub(super) struct Using(#[expect(dead_code, reason = "held for its lock")] Option<File>);

/// A note.
#[derive(Default, Serialize, Deserialize)]
struct Noted {
    /// The project's folder.
    folder: Utf8PathBuf,
    /// The engine's name, and the image's.
    names: BTreeSet<(String, String)>,
}

impl Pinned {
    /// Those of the project in this folder. `state`: where larder keeps what it knows of this user;
    /// nothing is noted and nothing taken away without it.
    pub(super) fn new(state: Option<&Utf8Path>, project: &Utf8Path) -> Self {
        // Two ways to one folder are one project.
        let project = project.canonicalize_utf8().unwrap_or_else(|_| project.to_owned());
        Self { notes: state.map(|state| state.join("pinned")), project }
    }

    /// Waits until no other process takes names away, and lets none begin.
    pub(super) fn using(&self) -> Using {
        // Where there is no lock, there is no note either.
        Using(self.lock_file().filter(|file| file.lock_shared().is_ok()))
    }

    /// Notes that an engine is about to have this name, or has it. A name that cannot be noted
    /// stays for ever, and is no reason to bake nothing.
    pub(super) fn add(&self, engine: Engine, name: &str) {
        let Some(path) = self.own() else { return };
        let mut names = self.names();
        if names.insert((engine, name.to_owned())) {
            let _ = self.write(&path, &names);
        }
    }

    /// Takes those names away that are not `kept` and that no other project has noted. An image
    /// that has other names stays; so does, with its name, one that a container uses. What became
    /// of them.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(super) fn take_away(
        &self,
        kept: &BTreeSet<&str>,
        (tools, runner): (&Tools, &Runner),
    ) -> Result<Gone, RunError> {
        let mut gone = Gone::default();
        let Some(path) = self.own().filter(|path| path.is_file()) else { return Ok(gone) };
        // Another bake may have found such a name, and be about to write it down: next time.
        let lock = self.lock_file().filter(|file| file.try_lock().is_ok());
        let before = self.names();
        let Some(_lock) = lock else {
            gone.left = before.iter().filter(|(_, name)| !kept.contains(name.as_str())).count();
            return Ok(gone);
        };
        let theirs = self.others();
        let mut names = BTreeSet::new();
        for one in &before {
            if kept.contains(one.1.as_str()) {
                names.insert(one.clone());
            } else if !theirs.contains(one) {
                match taken(one, tools, runner) {
                    Ok(Taken::Removed) => gone.removed += 1,
                    Ok(Taken::Absent) => {}
                    Ok(Taken::Kept) => {
                        gone.left += 1;
                        names.insert(one.clone());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if names != before {
            // What is not noted is asked for once more.
            let _ = if names.is_empty() {
                fs::remove_file(&path).is_ok()
            } else {
                self.write(&path, &names).is_ok()
            };
        }
        Ok(gone)
    }

    fn own(&self) -> Option<Utf8PathBuf> {
        Some(self.notes.as_ref()?.join(note::file_name(KIND, &[self.project.as_str()])))
    }

    fn names(&self) -> BTreeSet<Name> {
        self.own().map(|path| read(&path).1).unwrap_or_default()
    }

    fn write(&self, path: &Utf8Path, names: &BTreeSet<Name>) -> storekit::Result<()> {
        let names = names.iter().map(|(engine, name)| (engine.name().to_owned(), name.clone())).collect();
        let noted = Noted { folder: self.project.clone(), names };
        // All of it is text.
        let text = serde_json::to_string_pretty(&noted).unwrap_or_default() + "\n";
        // Where it cannot be made, writing says so.
        let _ = path.parent().map(fs::create_dir_all);
        replace(path, text.as_bytes(), Durability::Unsynced)
    }

    /// What the notes of other projects have whose folders are there.
    fn others(&self) -> BTreeSet<Name> {
        let own = self.own();
        let entries = self.notes.iter().filter_map(|notes| notes.read_dir_utf8().ok()).flatten().flatten();
        let begin = format!(".{KIND}-");
        let notes = entries
            .filter(|entry| entry.file_name().starts_with(&begin) && Some(entry.path()) != own.as_deref());
        let read = notes.map(|entry| read(entry.path())).filter(|(folder, _)| folder.is_dir());
        read.flat_map(|(_, names)| names).collect()
    }

    fn lock_file(&self) -> Option<File> {
        let notes = self.notes.as_ref()?;
        fs::create_dir_all(notes).ok()?;
        File::options().create(true).append(true).open(notes.join(LOCK)).ok()
    }
}

/// The project and the names of a note; none where it cannot be read.
fn read(path: &Utf8Path) -> (Utf8PathBuf, BTreeSet<Name>) {
    let bytes = read_capped(path, LARGEST).ok().flatten().unwrap_or_default();
    let noted: Noted = serde_json::from_slice(&bytes).unwrap_or_default();
    let name = |(engine, name): (String, String)| Some((Engine::named(&engine)?, name));
    let names = noted.names.into_iter().filter_map(name).filter(|(_, name)| is_name(name)).collect();
    (noted.folder, names)
}

/// What became of names that were to be taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) removed: usize,
    /// Those of images in use, of engines that do not answer, and all while another bake runs.
    pub(super) left: usize,
}

/// What became of a name.
enum Taken {
    Removed,
    /// The engine has it no more.
    Absent,
    /// A container uses the image, or the engine does not answer.
    Kept,
}

fn taken((engine, name): &Name, tools: &Tools, runner: &Runner) -> Result<Taken, RunError> {
    let ask = |words: &[&str]| {
        let cmd = tools.engine(*engine, "image").args(words.iter().copied()).within(Some(PATIENCE));
        match runner.ask(&cmd) {
            Err(error) if error.is_interruption() => Err(error),
            Ok((status, answer)) if status.success() => Ok(Some(answer)),
            _ => Ok(None),
        }
    };
    Ok(match ask(&["ls", "-q", name])? {
        Some(ids) if ids.trim_ascii().is_empty() => Taken::Absent,
        // Without `--force`: an image in use stays.
        Some(_) if ask(&["rm", name])?.is_some() => Taken::Removed,
        Some(_) | None => Taken::Kept,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::children::Children;
    use crate::process::runner::Verbosity;

    /// A folder of notes, and an engine that has what the files in a folder are called.
    struct Machine {
        dir: tempfile::TempDir,
    }

    const ENGINE: &str = "#!/bin/sh\n\
        cd \"${0%/*}/names\" || exit 1\n\
        case $2 in\n\
        ls) if test -e \"$4\"; then echo id; fi;;\n\
        rm) if test -s \"$3\"; then exit 1; fi; rm \"$3\";;\n\
        esac\n";

    impl Machine {
        fn new(names: &[&str]) -> Self {
            let machine = Self { dir: tempfile::tempdir().expect("a folder") };
            fs::create_dir(machine.path("names")).expect("a folder");
            for name in names {
                larder_tests::write(machine.path("names").join(name), "");
            }
            for engine in Engine::ALL.map(Engine::name) {
                larder_tests::write(machine.path(engine), ENGINE);
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(machine.path(engine), mode).expect("a mode");
            }
            machine
        }

        fn path(&self, name: &str) -> Utf8PathBuf {
            Utf8Path::from_path(self.dir.path()).expect("UTF-8").join(name)
        }

        fn project(&self, name: &str) -> Pinned {
            fs::create_dir_all(self.path(name)).expect("a folder");
            Pinned::new(Some(&self.path("state")), &self.path(name))
        }

        fn take_away(&self, from: &Pinned, kept: &[&str]) -> usize {
            let runner = Runner::new(self.path(""), Verbosity::Quiet, Children::default());
            let tools = Tools::all_in(&self.path(""));
            let kept = kept.iter().copied().collect();
            from.take_away(&kept, (&tools, &runner)).expect("no signal came").removed
        }

        fn names(&self) -> Vec<String> {
            let entries = self.path("names").read_dir_utf8().expect("a folder").flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_owned()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn only_what_was_noted_and_nobody_names_goes() {
        let machine = Machine::new(&["p-web:larder-1", "p-web:larder-2", "p-web:larder-3"]);
        let project = machine.project("one");
        project.add(Engine::Docker, "p-web:larder-1");
        project.add(Engine::Docker, "p-web:larder-2");
        assert_eq!(machine.take_away(&project, &["p-web:larder-2"]), 1);
        assert_eq!(machine.names(), ["p-web:larder-2", "p-web:larder-3"]);
        assert_eq!(machine.take_away(&project, &["p-web:larder-2"]), 0);
        assert_eq!(machine.take_away(&project, &[]), 1);
        assert_eq!(machine.names(), ["p-web:larder-3"]);
        assert!(project.own().is_some_and(|note| !note.exists()));
    }

    #[test]
    fn what_another_project_has_stays_while_that_is_there() {
        let machine = Machine::new(&["p-web:larder-1", "p-web:larder-2"]);
        let (one, other) = (machine.project("one"), machine.project("other"));
        for project in [&one, &other] {
            project.add(Engine::Docker, "p-web:larder-1");
            project.add(Engine::Podman, "p-web:larder-2");
        }
        assert_eq!(machine.take_away(&one, &[]), 0);
        one.add(Engine::Docker, "p-web:larder-1");
        fs::remove_dir(machine.path("other")).expect("a folder");
        assert_eq!(machine.take_away(&one, &[]), 1);
        assert_eq!(machine.names(), ["p-web:larder-2"]);
    }

    #[test]
    fn what_is_in_use_is_tried_again() {
        let machine = Machine::new(&["p-web:larder-1"]);
        let project = machine.project("one");
        project.add(Engine::Docker, "p-web:larder-1");
        project.add(Engine::Docker, "p-web:larder-gone");
        larder_tests::write(machine.path("names/p-web:larder-1"), "used");
        assert_eq!(machine.take_away(&project, &[]), 0);
        assert_eq!(project.names(), [(Engine::Docker, "p-web:larder-1".to_owned())].into());
        larder_tests::write(machine.path("names/p-web:larder-1"), "");
        assert_eq!(machine.take_away(&project, &[]), 1);
    }

    #[test]
    fn nothing_goes_while_another_one_bakes() {
        let machine = Machine::new(&["p-web:larder-1"]);
        let project = machine.project("one");
        project.add(Engine::Docker, "p-web:larder-1");
        let using = machine.project("other").using();
        assert_eq!(machine.take_away(&project, &[]), 0);
        drop(using);
        assert_eq!(machine.take_away(&project, &[]), 1);
    }

    #[test]
    fn a_note_that_is_none_names_nothing() {
        let machine = Machine::new(&["p-web:larder-1"]);
        let project = machine.project("one");
        let note = project.own().expect("a place");
        drop(project.using());
        for text in [
            "",
            "{",
            "{\"folder\": \"/\", \"names\": [[\"docker\", \"--all\"], [\"other\", \"p-web:larder-1\"]]}",
        ] {
            larder_tests::write(&note, text);
            assert_eq!(machine.take_away(&project, &[]), 0, "{text}");
        }
        assert_eq!(machine.names(), ["p-web:larder-1"]);
    }
}
