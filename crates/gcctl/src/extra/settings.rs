//! Which folders the settings name, and which of them may be named.

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Store;
use toolkit::amount::Setting;
use toolkit::settings::Settings;
use toolkit::tables::{Extra, ExtraKind};

use super::Folder;
use crate::limits::LimitsError;

/// The folders of all settings files. Of two files that name one, the nearer counts; values that it
/// does not have are the farther one's.
///
/// # Errors
/// Wrong settings; a folder that may not be one: the root, one with the home folder, the store or
/// the settings file in it, one in the store, and one in another.
pub fn load(settings: &Settings, store: &Store) -> Result<Vec<Folder>, LimitsError> {
    let user = Settings::of_user(settings.environment().clone());
    let is_users = |file: &Utf8Path| user.files().any(|own| own == file);
    let home = settings.environment().get("HOME").map(Utf8PathBuf::from);
    let mut all: Vec<(&Utf8Path, Utf8PathBuf, Extra)> = Vec::new();
    for (file, extras) in settings.values_of_each::<Vec<Extra>>("extra")? {
        for extra in extras {
            let wrong = |message: String| wrong(file, &extra, &message);
            let path = place(file, &extra, home.as_deref()).map_err(wrong)?;
            let around = [(store.root(), "the store"), (file, "the settings file")];
            let around = around.into_iter().chain(home.as_deref().map(|home| (home, "the home folder")));
            may_be_named(&path, around, store).map_err(wrong)?;
            if extra.kind == ExtraKind::Dir && !is_users(file) {
                // Files of its user are no business of who wrote a project.
                let project = behind_links(file.parent().unwrap_or(file)).map_err(wrong)?;
                if !path.starts_with(project) {
                    let message =
                        "it lies outside the project, where only the user's own settings name a `dir`";
                    return Err(wrong(message.into()));
                }
            }
            match all.iter_mut().find(|(_, known, _)| *known == path) {
                Some((other, ..)) if *other == file => return Err(wrong("it is there twice".into())),
                Some((_, _, near)) => {
                    near.max_size = near.max_size.or(extra.max_size);
                    near.max_age = near.max_age.or(extra.max_age);
                }
                None => all.push((file, path, extra)),
            }
        }
    }
    for (file, path, extra) in &all {
        if let Some((_, other, _)) = all.iter().find(|(_, it, _)| it != path && path.starts_with(it)) {
            return Err(wrong(file, extra, &format!("it lies in `{other}`, which is one itself")));
        }
    }
    let folder = |(file, path, extra): (&Utf8Path, Utf8PathBuf, Extra)| Folder {
        path,
        file: file.to_owned(),
        kind: extra.kind,
        max_size: extra.max_size.and_then(Setting::value),
        max_age: extra.max_age.and_then(Setting::value),
    };
    Ok(all.into_iter().map(folder).collect())
}

fn wrong(file: &Utf8Path, extra: &Extra, message: &str) -> LimitsError {
    let message = format!("`{}` cannot be an extra folder: {message}", extra.path);
    let help = "name a folder that holds nothing but what may go".into();
    LimitsError::Table { path: file.to_owned(), message, help }
}

/// Where the folder is, behind links. Of Hugging Face's home it is the hub in it.
fn place(file: &Utf8Path, extra: &Extra, home: Option<&Utf8Path>) -> Result<Utf8PathBuf, String> {
    let base = file.parent().unwrap_or(Utf8Path::new("/"));
    let path = match (extra.path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        (Ok(_), None) => return Err("there is no home folder: HOME is not set".into()),
        (Err(_), _) => base.join(&extra.path),
    };
    let path = behind_links(&path)?;
    let hub = path.join("hub");
    Ok(if extra.kind == ExtraKind::Hf && hub.is_dir() && !hub.is_symlink() { hub } else { path })
}

/// The path behind links; what is not there yet, as it is written.
fn behind_links(path: &Utf8Path) -> Result<Utf8PathBuf, String> {
    if let Ok(path) = path.canonicalize_utf8() {
        return Ok(path);
    }
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) => Ok(behind_links(above)?.join(name)),
        _ => Err("it is not there, and has `..` in it".into()),
    }
}

fn may_be_named<'a>(
    path: &Utf8Path,
    around: impl Iterator<Item = (&'a Utf8Path, &'a str)>,
    store: &Store,
) -> Result<(), String> {
    if path.parent().is_none() {
        return Err("it is the root of the file system".into());
    }
    for (inner, what) in around {
        if behind_links(inner)?.starts_with(path) {
            return Err(format!("{what} lies there"));
        }
    }
    if path.starts_with(behind_links(store.root())?) {
        return Err("it lies in the store".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use toolkit::settings::Environment;

    struct Scene {
        _dir: tempfile::TempDir,
        at: Utf8PathBuf,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap();
            for folder in ["home/.config/larder", "home/.cache/hf/hub", "project/models", "store"] {
                fs::create_dir_all(at.join(folder)).unwrap();
            }
            Self { _dir: dir, at }
        }

        fn load(&self, project: &str, user: &str) -> Result<Vec<Folder>, LimitsError> {
            fs::write(self.at.join("project/larder.toml"), project).unwrap();
            fs::write(self.at.join("home/.config/larder/config.toml"), user).unwrap();
            let variables = [("HOME".to_owned(), self.at.join("home").into_string())].into();
            let settings = Settings::load(Environment { folder: self.at.join("project"), variables });
            load(&settings, &Store::open_or_create(&self.at.join("store")).unwrap())
        }

        #[track_caller]
        fn refused(&self, path: &str, word: &str) {
            let text = format!("[[extra]]\npath = \"{path}\"\nkind = \"dir\"\n");
            let error = self.load(&text, "").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn folders_are_relative_to_their_file_or_below_the_home_folder() {
        let scene = Scene::new();
        let project = "[[extra]]\npath = \"models\"\nkind = \"dir\"\nmax-size = \"1GB\"\n\
                       [[extra]]\npath = \"~/.cache/hf\"\nkind = \"hf\"\nmax-age = \"none\"\n";
        let user = "[[extra]]\npath = \"../../.cache/hf/hub\"\nkind = \"hf\"\nmax-age = \"1d\"\nmax-size = \"5GB\"\n";
        let folders = scene.load(project, user).unwrap();
        let rows: Vec<_> = folders
            .iter()
            .map(|it| {
                (
                    it.path.strip_prefix(&scene.at).unwrap().as_str(),
                    it.max_size.map(|it| it.size.0),
                    it.max_age,
                )
            })
            .collect();
        let expected = [
            ("project/models", Some(1_000_000_000), None),
            ("home/.cache/hf/hub", Some(5_000_000_000), None),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn folders_with_more_in_them_than_may_go_are_refused() {
        let scene = Scene::new();
        std::os::unix::fs::symlink("/", scene.at.join("project/root")).unwrap();
        scene.refused("/", "the root");
        scene.refused("root", "the root");
        scene.refused("~", "the home folder lies there");
        scene.refused("../home", "the home folder lies there");
        scene.refused("..", "lies there");
        scene.refused(".", "the settings file lies there");
        scene.refused("../store", "the store lies there");
        scene.refused("../store/images", "it lies in the store");
        scene.refused("../nowhere/../store", "`..` in it");
        scene.refused("~/.cache/hf", "outside the project");
        let dir = "[[extra]]\npath = \"~/.cache/hf\"\nkind = \"dir\"\n";
        assert_eq!(scene.load("", dir).unwrap().len(), 1);
        let twice = "[[extra]]\npath = \"models\"\nkind = \"dir\"\n".repeat(2);
        assert!(scene.load(&twice, "").unwrap_err().to_string().contains("twice"));
        let nested =
            "[[extra]]\npath = \"models\"\nkind = \"dir\"\n[[extra]]\npath = \"models/a\"\nkind = \"dir\"\n";
        assert!(scene.load(nested, "").unwrap_err().to_string().contains("which is one itself"));
    }
}
