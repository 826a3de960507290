//! `include`: other files with a folder and variables of their own, whose services are the file's.

use camino::{Utf8Path, Utf8PathBuf};

use super::load::{Loader, Scope, Variables};
use super::merge::merged;
use super::source::{ComposeError, Fault};
use super::yaml::{Map, Node, Value};

/// What of an included file is the project's.
const SHARED: [&str; 6] = ["configs", "models", "networks", "secrets", "services", "volumes"];

/// One entry of the list.
struct Entry {
    /// The file, and those above it.
    paths: Vec<String>,
    folder: Option<String>,
    variables: Vec<String>,
}

impl Loader<'_> {
    /// The document with what its `include` names below it.
    pub(super) fn with_included(
        &mut self,
        mut document: Node,
        scope: &Scope<'_>,
        within: &mut Vec<Utf8PathBuf>,
    ) -> Result<Node, ComposeError> {
        let included = document.as_map_mut().and_then(|map| map.remove("include"));
        let Some(included) = included.filter(|node| !node.is_null()) else { return Ok(document) };
        let Some(entries) = included.as_list() else {
            return Err(self.explained(Fault::new(
                "`include` is not a list",
                &included.at,
                "write `include:` and `- FILE` below it",
            )));
        };
        for entry in entries {
            self.count_included(&entry.at)?;
            let read = entry_of(entry).map_err(|fault| self.explained(fault))?;
            let mut imported = self.imported(&read, entry, scope, within)?;
            if let Some(map) = imported.as_map_mut() {
                let others: Vec<_> =
                    map.names().filter(|name| !SHARED.contains(name)).map(str::to_owned).collect();
                for name in &others {
                    map.remove(name);
                }
            }
            document = merged(imported, document, &mut Vec::new());
        }
        Ok(document)
    }

    fn imported(
        &mut self,
        entry: &Entry,
        node: &Node,
        scope: &Scope<'_>,
        within: &mut Vec<Utf8PathBuf>,
    ) -> Result<Node, ComposeError> {
        if let Some(path) = entry.paths.iter().find(|path| path.contains("://") || path.starts_with("git@")) {
            let message = format!("`{path}` is not a file of this machine");
            return Err(self.explained(Fault::new(
                message,
                &node.at,
                "larder fetches no compose files: copy it into the project",
            )));
        }
        let paths: Vec<_> = entry.paths.iter().map(|path| self.base(scope.folder).full(path)).collect();
        if let Some(path) = paths.iter().find(|path| within.contains(path)) {
            let course: Vec<_> = within.iter().map(|path| format!("`{path}`")).collect();
            let message = format!("{} includes `{path}` again", course.join(" includes "));
            return Err(self.explained(Fault::new(message, &node.at, "a file cannot include itself")));
        }
        paths.iter().try_for_each(|path| self.must_be_there(path, &node.at))?;
        let folder = match &entry.folder {
            Some(folder) => self.base(scope.folder).full(folder),
            None => paths.first().and_then(|path| path.parent()).unwrap_or(scope.folder).to_owned(),
        };
        let variables = self.variables_of(entry, node, &folder, scope)?;
        self.together(&paths, &folder, &variables, within)
    }

    /// The variables of an included file: its own below those of the file that includes it.
    fn variables_of(
        &mut self,
        entry: &Entry,
        node: &Node,
        folder: &Utf8Path,
        scope: &Scope<'_>,
    ) -> Result<Variables, ComposeError> {
        let mut variables = scope.variables.clone();
        let own = folder.join(".env");
        let paths: Vec<_> = match entry.variables.as_slice() {
            [] => own.is_file().then_some(own).into_iter().collect(),
            named => named
                .iter()
                .filter(|path| *path != "/dev/null")
                .map(|path| self.base(scope.folder).full(path))
                .collect(),
        };
        paths.iter().try_for_each(|path| self.must_be_there(path, &node.at))?;
        self.variables(&paths, &mut variables)?;
        Ok(variables)
    }
}

fn entry_of(node: &Node) -> Result<Entry, Fault> {
    let help = "write `- FILE`, or `- path: FILE` with `project_directory` and `env_file`";
    if let Some(path) = node.as_text() {
        return Ok(Entry { paths: vec![path.to_owned()], folder: None, variables: Vec::new() });
    }
    let map =
        node.as_map().ok_or_else(|| Fault::new(format!("{} is not a file", node.kind()), &node.at, help))?;
    let paths = words(map, "path")?;
    if paths.is_empty() {
        return Err(Fault::new("`include` names no file", &node.at, help));
    }
    let folder = map.get("project_directory").and_then(Node::as_text).map(str::to_owned);
    Ok(Entry { paths, folder, variables: words(map, "env_file")? })
}

/// A text, or a list of texts.
fn words(map: &Map, name: &str) -> Result<Vec<String>, Fault> {
    let wrong = |node: &Node| {
        Fault::new(format!("`{name}` is not a file"), &node.at, "write one path, or a list of paths")
    };
    match map.get(name) {
        None => Ok(Vec::new()),
        Some(Node { value: Value::Text(text), .. }) => Ok(vec![text.clone()]),
        Some(Node { value: Value::List(items), .. }) => {
            items.iter().map(|item| item.as_text().map(str::to_owned).ok_or_else(|| wrong(item))).collect()
        }
        Some(node) if node.is_null() => Ok(Vec::new()),
        Some(node) => Err(wrong(node)),
    }
}
