//! What is to be written, and in which order, so that each moment can be put right from what is
//! there.
//!
//! Touches nothing: reads what is there, and decides.

use std::collections::BTreeMap;
use std::fs::File;

use camino::{Utf8Path, Utf8PathBuf};
use storekit::At;
use storekit::files::replace::read_capped;

use super::devcontainer::added;
use super::edit::{Edit, Edits, applied};
use super::pins::{self, Pins};
use super::record::{
    Changed, FILE as RECORD, LARGEST, Record, State, WriteError, backup_of, digest, is_below,
};
use super::steps::Step;
use crate::config::names::is_name;

/// So many links are followed from one to the next.
const MOST_LINKS: usize = 40;

/// Where a bake writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The project's folder.
    pub(crate) folder: Utf8PathBuf,
    /// A devcontainer.json that is to have the file above the others, in full.
    pub(crate) devcontainer: Option<Utf8PathBuf>,
}

/// What is to stand.
pub(crate) enum Write {
    /// The file above the others.
    Override,
    /// The compose files themselves, with these edits.
    InPlace(Edits),
}

/// What stands now.
pub(crate) struct Standing {
    pub(crate) record: Record,
    /// The pins of the file above the others, where there is one.
    pub(super) above: Option<Pins>,
}

impl Places {
    pub(crate) fn override_file(&self) -> Utf8PathBuf {
        self.folder.join(pins::FILE)
    }

    /// Where the file above the others really is.
    ///
    /// # Errors
    /// `Foreign`, where it is a link that leads out of the project; I/O errors.
    pub(super) fn real_override(&self) -> Result<Utf8PathBuf, WriteError> {
        real(&self.folder, Utf8Path::new(pins::FILE)).map_err(|error| match error {
            WriteError::InPlace { path, .. } => WriteError::Foreign { path },
            other => other,
        })
    }

    pub(super) fn record_file(&self) -> Utf8PathBuf {
        self.folder.join(RECORD)
    }

    /// Waits until no other process writes into the project, and lets none begin until what is
    /// returned is dropped. Where the file system has no locks, nothing is waited for.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub(crate) fn lock(&self) -> Result<File, WriteError> {
        let folder = File::open(&self.folder).at("open", &self.folder)?;
        match folder.lock() {
            Err(source) if source.kind() != std::io::ErrorKind::Unsupported => {
                Err(source).at("lock", &self.folder).map_err(WriteError::Io)
            }
            _ => Ok(folder),
        }
    }

    /// The files that a bake writes: they must be inputs of no image that it pins.
    pub(crate) fn written(&self, in_place: bool, files: &[Utf8PathBuf]) -> Vec<Utf8PathBuf> {
        if !in_place && self.devcontainer.is_none() {
            return vec![self.override_file()];
        }
        let mut written = if in_place { files.to_vec() } else { vec![self.override_file()] };
        written.extend(self.devcontainer.clone().filter(|_| !in_place));
        let edited = if in_place { files.to_vec() } else { self.devcontainer.clone().into_iter().collect() };
        written.extend(edited.iter().map(|path| backup_of(path)));
        written.push(self.record_file());
        written
    }

    /// What stands now. Whatever somebody has edited since is an error: nothing is to be built that
    /// cannot be written then.
    ///
    /// # Errors
    /// `Edited`, `Foreign`, `Backup`, `Record`; I/O errors.
    pub(crate) fn standing(&self) -> Result<Standing, WriteError> {
        let record = Record::load(&self.folder)?;
        for file in &record.files {
            let path = self.folder.join(&file.path);
            let now = read_capped(&path, LARGEST)?;
            match file.state(now.as_deref()) {
                State::Original => {}
                State::Written => drop(file.original(&self.folder)?),
                State::Edited => return Err(self.edited(file, now.as_deref())),
            }
        }
        let path = self.override_file();
        let above = match read_capped(&path, LARGEST)? {
            None => None,
            Some(bytes) => {
                let text =
                    String::from_utf8(bytes).map_err(|_| WriteError::Foreign { path: path.clone() })?;
                Some(pins::read(&text).map_err(|written| override_edited(path, written, &text))?)
            }
        };
        Ok(Standing { record, above })
    }

    fn edited(&self, file: &Changed, now: Option<&[u8]>) -> WriteError {
        let path = self.folder.join(&file.path);
        let text = now.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        let difference = match file.last_written(&self.folder) {
            Some(written) => super::diff::difference(&written, &text),
            None => "an unknown place: its backup is gone".to_owned(),
        };
        let backup = self.folder.join(file.backup());
        let help = format!(
            "take that back, or put the file right yourself: `mv {backup} {path}`, and `larder unbake` again"
        );
        WriteError::Edited { path, difference, help }
    }
}

fn override_edited(path: Utf8PathBuf, written: Option<String>, text: &str) -> WriteError {
    let Some(written) = written else { return WriteError::Foreign { path } };
    let difference = super::diff::difference(&written, text);
    let help = format!("take that back, or `rm {path}`: a bake writes it anew");
    WriteError::Edited { path, difference, help }
}

/// The images that are to be pinned: those of this bake, and of an earlier one those whose services
/// are still built.
pub(crate) fn all_pins(standing: &Standing, new: &Pins, is_built: impl Fn(&str) -> bool) -> Pins {
    let old = standing.above.iter().chain([&standing.record.pins]).flatten();
    let kept = old.filter(|(service, image)| is_built(service) && is_name(image));
    let mut pins: Pins = kept.map(|(service, image)| (service.clone(), image.clone())).collect();
    pins.extend(new.iter().map(|(service, image)| (service.clone(), image.clone())));
    pins
}

/// A file as it is to be.
struct Wanted {
    original: Vec<u8>,
    now: Vec<u8>,
    new: Vec<u8>,
    edits: Vec<Edit>,
}

/// What is to be done so that this stands.
///
/// # Errors
/// What cannot be edited; I/O errors.
pub(crate) fn written(
    places: &Places,
    standing: &Standing,
    pins: &Pins,
    write: &Write,
) -> Result<Vec<Step>, WriteError> {
    let mut wanted = BTreeMap::new();
    let in_place = match write {
        Write::InPlace(edits) => {
            for (path, (read, edits)) in edits {
                let relative = below(&places.folder, path).map_err(|why| in_place_error(path, why))?;
                let one = file(places, standing, &relative, |text| {
                    let moved =
                        || in_place_error(path, "it was edited while its images were baked".to_owned());
                    if text == read { Ok(edits.clone()) } else { Err(moved()) }
                })?;
                wanted.insert(relative, one);
            }
            true
        }
        Write::Override => {
            if let Some(path) = &places.devcontainer {
                let name = relative_to(path.parent().unwrap_or(path), &places.override_file());
                let refused =
                    |why: String| WriteError::Devcontainer { path: path.clone(), why, file: name.clone() };
                let relative = below(&places.folder, path).map_err(refused)?;
                let one = file(places, standing, &relative, |text| added(text, &name).map_err(refused))?;
                wanted.insert(relative, one);
            }
            false
        }
    };
    wanted.retain(|_, one| !one.edits.is_empty());
    let text = pins::text(pins);
    let above = (!in_place).then_some(text.as_str());
    steps(places, standing, &wanted, if in_place { pins.clone() } else { Pins::new() }, above)
}

fn in_place_error(path: &Utf8Path, why: String) -> WriteError {
    WriteError::InPlace { path: path.to_owned(), why }
}

/// A file with what is to be changed in what it was before any bake.
fn file(
    places: &Places,
    standing: &Standing,
    path: &Utf8Path,
    edits: impl FnOnce(&str) -> Result<Vec<Edit>, WriteError>,
) -> Result<Wanted, WriteError> {
    let full = places.folder.join(path);
    let now = read_capped(&full, LARGEST)?;
    let now = now.ok_or_else(|| in_place_error(&full, "it is not there".to_owned()))?;
    let original = match standing.record.of(path) {
        Some(changed) if changed.state(Some(&now)) == State::Written => changed.original(&places.folder)?,
        _ => now.clone(),
    };
    let text =
        std::str::from_utf8(&original).map_err(|_| in_place_error(&full, "it is not UTF-8".to_owned()))?;
    let edits = edits(text)?;
    let new =
        applied(text, &edits).ok_or_else(|| in_place_error(&full, "it changed meanwhile".to_owned()))?;
    let new = new.into_bytes();
    Ok(Wanted { original, now, new, edits })
}

fn steps(
    places: &Places,
    standing: &Standing,
    wanted: &BTreeMap<Utf8PathBuf, Wanted>,
    pins: Pins,
    above: Option<&str>,
) -> Result<Vec<Step>, WriteError> {
    let Places { folder, .. } = places;
    let old = &standing.record;
    let changed = |(path, one): (&Utf8PathBuf, &Wanted)| {
        let (now, new) = (digest(&one.now), digest(&one.new));
        // As it was noted, where it stands.
        if let Some(noted) = old
            .of(path)
            .filter(|noted| now == new && noted.written.last() == Some(&new) && noted.edits == one.edits)
        {
            return noted.clone();
        }
        let was = old.of(path).is_some_and(|changed| changed.written.contains(&now)) && now != new;
        let written = was.then_some(now).into_iter().chain([new]).collect();
        Changed { path: path.clone(), original: digest(&one.original), written, edits: one.edits.clone() }
    };
    let files: Vec<_> = wanted.iter().map(changed).collect();
    let others: Vec<_> = old.files.iter().filter(|file| !wanted.contains_key(&file.path)).collect();
    let last = Record::new(pins, files.clone());
    let record = |files: Vec<Changed>| Step::Write {
        path: places.record_file(),
        bytes: Record::new(last.pins.clone(), files).text().into_bytes(),
        like: None,
    };
    let mut steps = Vec::new();
    let is_noted = *old == last || (old.is_empty() && last.is_empty());
    if !is_noted {
        steps.push(record(files.iter().cloned().chain(others.iter().map(|file| (*file).clone())).collect()));
    }
    for (path, one) in wanted {
        let (backup, like) = (folder.join(backup_of(path)), Some(folder.join(path)));
        match read_capped(&backup, LARGEST)? {
            Some(bytes) if bytes == one.original => {}
            Some(_) => return Err(WriteError::Foreign { path: backup }),
            None => steps.push(Step::Write { path: backup, bytes: one.original.clone(), like }),
        }
    }
    if let Some(text) = above
        && read_capped(&places.override_file(), LARGEST)?.as_deref() != Some(text.as_bytes())
    {
        let path = places.real_override()?;
        steps.push(Step::Write { path, bytes: text.as_bytes().to_vec(), like: None });
    }
    for (path, one) in wanted.iter().filter(|(_, one)| one.now != one.new) {
        steps.push(Step::Write { path: real(folder, path)?, bytes: one.new.clone(), like: None });
    }
    steps.extend(restored(folder, others.iter().copied())?);
    if above.is_none() && standing.above.is_some() {
        steps.push(Step::Remove { path: places.real_override()? });
    }
    steps.extend(others.iter().map(|file| Step::Remove { path: folder.join(file.backup()) }));
    if !others.is_empty() {
        steps.push(if last.is_empty() { Step::Remove { path: places.record_file() } } else { record(files) });
    }
    Ok(steps)
}

/// What gives files back what they were.
pub(super) fn restored<'r>(
    folder: &Utf8Path,
    files: impl Iterator<Item = &'r Changed>,
) -> Result<Vec<Step>, WriteError> {
    let mut steps = Vec::new();
    for file in files {
        let now = read_capped(&folder.join(&file.path), LARGEST)?;
        if file.state(now.as_deref()) == State::Written {
            let bytes = file.original(folder)?;
            steps.push(Step::Write { path: real(folder, &file.path)?, bytes, like: None });
        }
    }
    Ok(steps)
}

/// The path below the folder.
fn below(folder: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf, String> {
    let relative = path.strip_prefix(folder).ok().filter(|relative| is_below(relative));
    relative.map(Utf8Path::to_owned).ok_or_else(|| format!("it is not below the project's folder, {folder}"))
}

/// Where the file really is, or will be: a link is followed, and stays.
fn real(folder: &Utf8Path, path: &Utf8Path) -> Result<Utf8PathBuf, WriteError> {
    let full = folder.join(path);
    let failed = |source| storekit::Error::io("look at", &full, source);
    // One that leads in a circle is an error below.
    let mut real = full.clone();
    for _ in 0..MOST_LINKS {
        let Ok(target) = real.read_link_utf8() else { break };
        real = real.parent().unwrap_or(folder).join(target);
    }
    let real = match real.canonicalize_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = real.parent().unwrap_or(folder).canonicalize_utf8().map_err(failed)?;
            parent.join(real.file_name().unwrap_or_default())
        }
        other => other.map_err(failed)?,
    };
    let root = folder.canonicalize_utf8().map_err(failed)?;
    if real.starts_with(&root) {
        return Ok(real);
    }
    Err(in_place_error(&full, format!("it is a link to {real}, outside the project's folder")))
}

/// The path of a file as a folder sees it.
fn relative_to(folder: &Utf8Path, file: &Utf8Path) -> String {
    let mut up = Utf8PathBuf::new();
    for ancestor in folder.ancestors() {
        if let Ok(below) = file.strip_prefix(ancestor) {
            return up.join(below).into_string();
        }
        up.push("..");
    }
    file.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_seen_from_a_folder() {
        for (folder, path) in
            [("/p", "l.yml"), ("/p/.dev", "../l.yml"), ("/q", "../p/l.yml"), ("/p/a/b", "../../l.yml")]
        {
            assert_eq!(relative_to(Utf8Path::new(folder), Utf8Path::new("/p/l.yml")), path);
        }
    }
}
