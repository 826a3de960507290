//! Where docker's daemon is, as its command finds it.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use toolkit::settings::Environment;

/// Where it listens if nothing says otherwise.
const USUAL: &str = "/var/run/docker.sock";
/// A user who sets one of these wants what the command alone does.
const SPECIAL: [&str; 2] = ["DOCKER_TLS_VERIFY", "DOCKER_API_VERSION"];

/// The command's own settings.
#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "currentContext", default)]
    context: String,
}

/// The unix socket of the daemon that the command would ask. `None` where it is elsewhere, or in a
/// context of the user's.
pub(crate) fn socket(environment: &Environment) -> Option<Utf8PathBuf> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if SPECIAL.iter().any(|name| set(name).is_some()) {
        return None;
    }
    if let Some(host) = set("DOCKER_HOST") {
        return host.strip_prefix("unix://").map(Utf8PathBuf::from);
    }
    let context = set("DOCKER_CONTEXT").map(str::to_owned).or_else(|| {
        let folder = set("DOCKER_CONFIG").map(Utf8PathBuf::from);
        configured(&folder.or_else(|| Some(Utf8Path::new(set("HOME")?).join(".docker")))?)
    });
    matches!(context.as_deref(), None | Some("" | "default")).then(|| USUAL.into())
}

/// The context that the command's settings name. What cannot be understood names an unknown one.
fn configured(folder: &Utf8Path) -> Option<String> {
    let bytes = fs::read(folder.join("config.json")).ok()?;
    Some(serde_json::from_slice(&bytes).map_or("?".to_owned(), |config: Config| config.context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(variables: &[(&str, &str)], expected: Option<&str>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment { folder: "/".into(), variables: variables.collect() };
        assert_eq!(socket(&environment), expected.map(Utf8PathBuf::from));
    }

    #[test]
    fn docker_is_where_its_command_finds_it() {
        is(&[], Some(USUAL));
        is(&[("DOCKER_HOST", "")], Some(USUAL));
        is(
            &[("DOCKER_HOST", "unix:///run/user/1/docker.sock"), ("DOCKER_CONTEXT", "far")],
            Some("/run/user/1/docker.sock"),
        );
        is(&[("DOCKER_HOST", "tcp://127.0.0.1:1")], None);
        is(&[("DOCKER_HOST", "ssh://somebody@build.example")], None);
        is(&[("DOCKER_CONTEXT", "default")], Some(USUAL));
        is(&[("DOCKER_CONTEXT", "far")], None);
        is(&[("DOCKER_API_VERSION", "1.40")], None);
        is(&[("DOCKER_TLS_VERIFY", "1")], None);
    }

    #[test]
    fn the_settings_of_the_command_name_its_context() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let config = |text: &str| {
            fs::create_dir_all(folder.path().join(".docker")).unwrap();
            fs::File::create(folder.path().join(".docker/config.json"))
                .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
                .unwrap();
        };
        is(&[("HOME", home)], Some(USUAL));
        for (text, expected) in [
            (r#"{"auths":{}}"#, Some(USUAL)),
            (r#"{"currentContext":"default"}"#, Some(USUAL)),
            (r#"{"currentContext":"far"}"#, None),
            ("{", None),
        ] {
            config(text);
            is(&[("HOME", home)], expected);
            is(&[("HOME", "/nowhere"), ("DOCKER_CONFIG", &format!("{home}/.docker"))], expected);
            is(&[("HOME", home), ("DOCKER_CONTEXT", "default")], Some(USUAL));
        }
    }
}
