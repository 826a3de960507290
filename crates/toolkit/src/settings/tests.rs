//! Which file counts for what, and what is refused.

use super::*;
use std::fs;

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Table {
    max_images: Option<u32>,
    max_age: Option<storekit::Age>,
}

fn environment(project: &str, user: &str) -> (tempfile::TempDir, Environment) {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    fs::create_dir_all(path.join("project/deep")).unwrap();
    fs::create_dir_all(path.join("home/.config/larder")).unwrap();
    fs::write(path.join("project/larder.toml"), project).unwrap();
    fs::write(path.join("home/.config/larder/config.toml"), user).unwrap();
    let variables = [("HOME".to_owned(), path.join("home").into_string())].into();
    (dir, Environment { folder: path.join("project/deep"), variables })
}

#[test]
fn the_nearer_file_wins_value_by_value() {
    let (_dir, environment) = environment(
        "[gcctl]\nmax-images = 2\n[x-other]\nx = 1\n",
        "[gcctl]\nmax-images = 9\nmax-age = \"1d\"\n",
    );
    let settings = Settings::load(environment);
    let table: Table = settings.table("gcctl").unwrap();
    assert_eq!(table, Table { max_images: Some(2), max_age: Some("1d".parse().unwrap()) });
    assert_eq!(settings.table::<Table>("none").unwrap(), Table::default());
}

#[test]
fn a_table_in_a_table_is_read_by_itself() {
    let (_dir, environment) = environment(
        "[gcctl]\nmax-images = 2\n[gcctl.team]\nmax-images = 5\n",
        "[gcctl.team]\nmax-age = \"1d\"\n",
    );
    let settings = Settings::load(environment);
    let (own, team): (Table, Table) =
        (settings.values("gcctl").unwrap(), settings.table_in("gcctl", "team").unwrap());
    assert_eq!(own, Table { max_images: Some(2), max_age: None });
    assert_eq!(team, Table { max_images: Some(5), max_age: Some("1d".parse().unwrap()) });
    assert_eq!(settings.table_in::<Table>("gcctl", "other").unwrap(), Table::default());
}

#[test]
fn a_wrong_value_names_its_file() {
    let (_dir, environment) = environment("[gcctl]\nmax-image = 2\n", "");
    let error = Settings::load(environment).table::<Table>("gcctl").unwrap_err();
    assert!(error.to_string().contains("larder.toml") && error.to_string().contains("max-image"), "{error}");
}

#[test]
fn a_table_that_no_tool_knows_is_refused_whatever_is_asked_for() {
    let good = "[x-mine]\na = 1\n[gcctl]\nmax-images = 2\n";
    for (project, user) in [("[gcctll]\n", ""), ("", "[gcctll]\n"), ("gcctll = 1\n", good)] {
        let (_dir, environment) = environment(project, user);
        let settings = Settings::load(environment);
        for error in [settings.table::<Table>("gcctl").unwrap_err(), settings.store_dir(None).unwrap_err()] {
            let help = error.help().unwrap().to_string();
            assert!(error.to_string().contains("no tool knows the table `gcctll`"), "{error}");
            assert!(help.starts_with("is `[gcctl]` meant? "), "{help}");
        }
        let hints = settings.problems().map(|problem| match problem {
            SettingsError::Bad(bad) => bad.hint(),
            other => panic!("{other}"),
        });
        assert_eq!(hints.collect::<Vec<_>>(), [" (line 1: is `[gcctl]` meant?)"]);
    }
    let (_dir, environment) = environment(good, good);
    assert!(Settings::load(environment).table::<Table>("gcctl").is_ok());
}

#[test]
fn an_unknown_word_about_the_store_is_refused() {
    let (_dir, environment) = environment("[store]\ndirr = \"x\"\n", "");
    let error = Settings::load(environment).store_dir(None).unwrap_err();
    assert!(error.to_string().contains("dirr"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_counts_only_where_it_is_asked() {
    let (_dir, mut environment) = environment("[store]\ndir = \"s\"\n", "");
    let user = environment.folder.parent().unwrap().with_file_name("home/.config/larder/config.toml");
    fs::remove_file(&user).unwrap();
    fs::create_dir(&user).unwrap();
    let settings = Settings::load(environment.clone());
    assert!(settings.problems().count() == 1 && settings.table::<Table>("gcctl").is_err());
    assert!(settings.store_dir(None).unwrap().ends_with("project/s"), "the nearer file says it");
    fs::write(environment.folder.parent().unwrap().join("larder.toml"), "[store").unwrap();
    assert_eq!(Settings::load(environment.clone()).problems().count(), 2);
    assert!(Settings::load(environment.clone()).store_dir(None).is_err());
    assert!(Settings::load(environment.clone()).store_dir(Some(Utf8Path::new("/s"))).is_ok());
    environment.variables.insert("LARDER_DIR".into(), "/var/l".into());
    assert_eq!(Settings::load(environment).store_dir(None).unwrap(), "/var/l");
}

#[test]
fn state_is_in_the_users_state_folder() {
    let state = |variables: &[(&str, &str)]| {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment { folder: "/".into(), variables: pairs.collect() }.state_folder()
    };
    assert_eq!(state(&[("HOME", "/h")]), Some("/h/.local/state/larder".into()));
    assert_eq!(state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), Some("/s/larder".into()));
    assert_eq!(state(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]), Some("/h/.local/state/larder".into()));
    assert_eq!(state(&[]), None);
}

#[test]
fn a_local_file_goes_above_the_projects_and_a_variable_names_another() {
    let (_dir, mut environment) = environment("[store]\ndir = \"s\"\n", "");
    let project = environment.folder.parent().unwrap().to_owned();
    fs::write(project.join("larder.local.toml"), "[store]\ndir = \"mine\"\n").unwrap();
    let dir = |environment: &Environment| Settings::load(environment.clone()).store_dir(None).unwrap();
    assert_eq!(dir(&environment), project.join("mine"));
    fs::write(project.join("deep/other.toml"), "[store]\ndir = \"o\"\n").unwrap();
    environment.variables.insert(PROJECT_VARIABLE.into(), "other.toml".into());
    assert_eq!(dir(&environment), project.join("deep/o"));
}

#[test]
fn a_store_that_is_not_a_table_is_said_in_words() {
    let (_dir, environment) = environment("store = 3", "");
    let message = Settings::load(environment).store_dir(None).unwrap_err().to_string();
    assert!(message.contains("integer `3`, expected a table, such as `dir = "), "{message}");
}

#[test]
fn the_store_is_where_the_first_word_says() {
    let (_dir, mut environment) = environment("[store]\ndir = \"docker-cache\"\n", "");
    let project = environment.folder.parent().unwrap().to_owned();
    let dir = |environment: &Environment, flag| Settings::load(environment.clone()).store_dir(flag).unwrap();
    assert_eq!(dir(&environment, None), project.join("docker-cache"));
    environment.variables.insert("LARDER_DIR".into(), "/var/l".into());
    assert_eq!(dir(&environment, None), "/var/l");
    assert_eq!(dir(&environment, Some(Utf8Path::new("s"))), project.join("deep/s"));
    environment.variables.remove("LARDER_DIR");
    fs::write(project.join("larder.toml"), "").unwrap();
    assert!(dir(&environment, None).ends_with("home/.cache/larder"));
}
