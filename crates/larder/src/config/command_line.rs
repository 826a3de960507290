//! What the command line sets: `--set NAME.KEY=VALUE` and `--build-arg NAME=VALUE`.

use globset::Glob;

use super::Given;
use super::expand::{Entry, args_of, set as set_entry};
use super::fault::Fault;
use super::layers::{Layers, Table};
use super::reference::{DISK, IMAGE};
use toolkit::nearest::question;

/// Whether the word may follow the image's name.
fn is_key(word: &str) -> bool {
    IMAGE.iter().chain(DISK).any(|key| key.name == word)
}

/// Puts what is given above the files.
pub(super) fn add(layers: &mut Layers, given: &Given<'_>) -> Result<(), Fault> {
    for arg in given.build_args {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), (given.variables)(arg)),
        };
        let shown = format!("`--build-arg {name}`");
        // One that is not set is left out, as engines do.
        if let Some(value) = value {
            layers.add_for("*", &shown, &format!("args.{} = {}", quoted(name), quoted(&literal(&value))));
        }
    }
    for set in given.set {
        let (names, path, value) = split(set).ok_or_else(|| {
            let help = "write `--set NAME.KEY=VALUE`, such as `--set app.target=dev` or `--set app.args.A=1`; `larder reference` \
                        lists the keys"
                .to_owned();
            Fault { message: format!("`--set {set}` sets no key of an image"), help, ..Fault::default() }
        })?;
        layers.add_for(names, "`--set`", &assignment(path, value));
    }
    Ok(())
}

/// A value of the command line has no variables to put in: the shell has done that.
fn literal(value: &str) -> String {
    value.replace("${", "$${")
}

/// The names, the key and the value. A name may have dots: the key is the first word that is one.
fn split(set: &str) -> Option<(&str, &str, &str)> {
    let (left, value) = set.split_once('=')?;
    let dots = left.match_indices('.').map(|(at, _)| at);
    let mut halves = dots.filter_map(|at| Some((left.get(..at)?, left.get(at + 1..)?)));
    let (names, path) = halves.find(|(names, path)| {
        let first = path.split('.').next().unwrap_or_default();
        !names.is_empty() && (is_key(first))
    })?;
    Some((names, path, value))
}

/// One line of TOML. A value that reads as a list, a table, a quoted text or, for a key of its own,
/// a truth value, is that; any other is a text.
fn assignment(path: &str, value: &str) -> String {
    let mut parts = path.splitn(2, '.');
    let first = parts.next().unwrap_or_default();
    let rest = parts.next();
    let key = rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{}", quoted(rest)));
    let is_toml =
        value.starts_with(['[', '{', '"', '\'']) || (rest.is_none() && matches!(value, "true" | "false"));
    let value = match (is_toml, first) {
        (true, _) => value.to_owned(),
        (false, "tags" | "needs") => format!("[{}]", quoted(value)),
        (false, _) => quoted(&literal(value)),
    };
    format!("{key} = {value}")
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Puts what is set above the tables of the images and disks that are meant.
pub(super) fn set<'i>(
    names: &str,
    over: &Table<'i>,
    images: &mut [Entry<'i>],
    disks: &mut [Entry<'i>],
) -> Result<(), Fault> {
    // A build argument: of all that are built.
    if names == "*" && over.keys().all(|key| key.get_ref() == "args") {
        let builds = images.iter_mut().filter(|image| !image.table.contains_key("pack"));
        return builds.into_iter().try_for_each(|image| set_entry(image, over.clone()));
    }
    let glob = Glob::new(names).ok().map(|glob| glob.compile_matcher());
    let is_meant = |entry: &Entry<'_>| {
        entry.name == names
            || entry.group == names
            || entry.plain == names
            || glob.as_ref().is_some_and(|glob| glob.is_match(&entry.name))
    };
    let mut found = false;
    for entry in images.iter_mut().chain(disks.iter_mut()).filter(|entry| is_meant(entry)) {
        if names != "*" {
            entry.own_args.extend(args_of(over));
        }
        set_entry(entry, over.clone())?;
        found = true;
    }
    if found {
        return Ok(());
    }
    let known: Vec<_> = images.iter().chain(disks.iter()).map(|entry| entry.name.as_str()).collect();
    let help = format!("{}the file has {}", question(names, known.iter().copied()), known.join(", "));
    let at = over.keys().next().map(toml::Spanned::span);
    Err(Fault { message: format!("no image or disk is called `{names}`"), at, help, ..Fault::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_behind_any_name() {
        assert_eq!(split("app.args.A=1=2"), Some(("app", "args.A", "1=2")));
        assert_eq!(split("wheels-3.9.target=x"), Some(("wheels-3.9", "target", "x")));
        assert_eq!(split("*.labels.org.a=x"), Some(("*", "labels.org.a", "x")));
        assert_eq!([split("app=1"), split("app.colour=1"), split("app.args")], [None; 3]);
    }

    #[test]
    fn a_value_is_a_text_unless_it_reads_as_more() {
        for (path, value, line) in [
            ("args.A", "1", "args.\"A\" = \"1\""),
            ("args.A", "true", "args.\"A\" = \"true\""),
            ("lock", "false", "lock = false"),
            ("tags", "a:1", "tags = [\"a:1\"]"),
            ("tags", "[\"a\", \"b\"]", "tags = [\"a\", \"b\"]"),
            ("args.A", "${X}", "args.\"A\" = \"$${X}\""),
            ("labels.org.a", "x", "labels.\"org.a\" = \"x\""),
        ] {
            assert_eq!(assignment(path, value), line);
        }
    }
}
