//! `extends`: a service above another one, of the same file or of another.

use camino::Utf8PathBuf;

use super::load::{Loader, Scope};
use super::merge::merged;
use super::source::{ComposeError, Fault, Place};
use super::yaml::{Map, Node};

/// How many services may stand above one another.
const LONGEST: usize = 50;

/// The services on the way to the one that is looked at: each with its file.
type Course = Vec<(Utf8PathBuf, String)>;

impl Loader<'_> {
    /// The document with each of its services above what it extends. `below`: the services of the
    /// files before.
    pub(super) fn with_extended(
        &mut self,
        mut document: Node,
        scope: &Scope<'_>,
        below: Option<&Map>,
    ) -> Result<Node, ComposeError> {
        let Some(services) = document.as_map_mut().and_then(|map| map.get_mut("services")) else {
            return Ok(document);
        };
        if services.is_null() {
            return Ok(document);
        }
        let at = services.at.clone();
        let Some(own) = services.as_map_mut() else {
            return Err(self.explained(Fault::new(
                "`services` is not a mapping",
                &at,
                "write `services:`, and each service with its name below it",
            )));
        };
        let plain = own.clone();
        for (key, service) in plain.iter() {
            if service.as_map().is_none() && !service.is_null() {
                let message = format!("the service `{}` is {}", key.name, service.kind());
                return Err(self.explained(Fault::new(
                    message,
                    &service.at,
                    "a service is a mapping: `image: NAME`, or `build: FOLDER`",
                )));
            }
            if service.get("extends").is_some() {
                let mut course = Course::new();
                let whole = self.extended((&plain, below), key.name, service, scope, &mut course)?;
                own.set(key.name, key.at.clone(), whole);
            }
        }
        Ok(document)
    }

    /// The service above what it extends.
    fn extended(
        &mut self,
        services: (&Map, Option<&Map>),
        name: &str,
        service: &Node,
        scope: &Scope<'_>,
        course: &mut Course,
    ) -> Result<Node, ComposeError> {
        let Some(extends) = service.get("extends") else { return Ok(service.clone()) };
        let (of, file) = named(extends).map_err(|fault| self.explained(fault))?;
        let own = (scope.path.to_owned(), name.to_owned());
        if course.contains(&own) || course.len() >= LONGEST {
            let names: Vec<_> = course.iter().take(10).map(|(_, name)| format!("`{name}`")).collect();
            let message = format!("{} extends `{name}` again", names.join(" extends "));
            return Err(self.explained(Fault::new(message, &extends.at, "a service cannot extend itself")));
        }
        course.push(own);
        let base = match file {
            None => {
                let found = services.0.get(&of).or_else(|| services.1?.get(&of));
                let found = found.ok_or_else(|| self.missing(&of, scope, services.0, &extends.at))?;
                let mut found = found.clone();
                self.base(scope.folder).settle_service(&mut found);
                self.extended(services, &of, &found, scope, course)?
            }
            Some(file) => self.of_file(&file, &of, &extends.at, scope, course)?,
        };
        course.pop();
        let mut service = service.clone();
        let mark = service.mark;
        let _ = service.as_map_mut().and_then(|map| map.remove("extends"));
        service.mark = super::yaml::Mark::None;
        let mut whole = merged(base, service, &mut vec!["services".to_owned(), name.to_owned()]);
        whole.mark = mark;
        self.count(&whole)?;
        Ok(whole)
    }

    /// A service of another file: its paths are relative to that.
    fn of_file(
        &mut self,
        file: &str,
        of: &str,
        at: &Place,
        scope: &Scope<'_>,
        course: &mut Course,
    ) -> Result<Node, ComposeError> {
        if file.contains("://") || file.starts_with("git@") {
            let message = format!("`{file}` is not a file of this machine");
            return Err(self.explained(Fault::new(
                message,
                at,
                "larder fetches no compose files: copy it into the project",
            )));
        }
        let path = self.base(scope.folder).full(file);
        self.must_be_there(&path, at)?;
        let folder = path.parent().unwrap_or(scope.folder).to_owned();
        let mut sum: Option<Node> = None;
        for document in self.documents(&path, scope.variables)? {
            sum = Some(match sum {
                Some(sum) => merged(sum, document, &mut Vec::new()),
                None => document,
            });
        }
        let empty = Map::default();
        let services =
            sum.as_ref().and_then(|file| file.get("services")).and_then(Node::as_map).unwrap_or(&empty);
        let scope = Scope { path: &path, folder: &folder, variables: scope.variables };
        let found = services.get(of).ok_or_else(|| self.missing(of, &scope, services, at))?;
        let mut found = found.clone();
        self.base(&folder).settle_service(&mut found);
        self.extended((services, None), of, &found, &scope, course)
    }

    fn missing(&self, of: &str, scope: &Scope<'_>, services: &Map, at: &Place) -> ComposeError {
        let meant = toolkit::nearest::question(of, services.names());
        let file = scope.path.file_name().unwrap_or(scope.path.as_str());
        let message = format!("there is no service `{of}` to extend");
        self.explained(Fault::new(message, at, format!("{meant}name a service of `{file}`")))
    }
}

/// The service that is extended, and its file.
fn named(extends: &Node) -> Result<(String, Option<String>), Fault> {
    let wrong = || {
        let help = "write `extends: SERVICE`, or `extends: {file: FILE, service: SERVICE}`";
        Fault::new("`extends` names no service", &extends.at, help)
    };
    if let Some(service) = extends.as_text() {
        return Ok((service.to_owned(), None));
    }
    let service = extends.get("service").and_then(Node::scalar).ok_or_else(wrong)?;
    let file = extends.get("file");
    if file.is_some_and(|file| file.as_text().is_none()) {
        return Err(wrong());
    }
    Ok((service, file.and_then(Node::as_text).map(str::to_owned)))
}
