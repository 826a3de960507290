//! `bake --compose` and `unbake`: what the command line says of compose files.

use camino::Utf8PathBuf;
use toolkit::{Outcome, Output};

use super::args::{BakeArgs, ProjectArgs, UnbakeArgs};
use super::{Process, is_missing, named_file};
use crate::compose::{self, Order, Request, Surroundings};
use crate::config::{self, Compose, Given};
use crate::list;
use crate::process::runner::Verbosity;

/// larder.toml, where there is one, with its folder and what it says of compose files.
struct Settings {
    file: Utf8PathBuf,
    folder: Utf8PathBuf,
    compose: Compose,
}

impl Process {
    /// `bake --compose`.
    pub(super) fn bake_composed(&self, mut args: BakeArgs) -> miette::Result<Outcome> {
        let (files, names) = std::mem::take(&mut args.names).into_iter().partition(|word| is_file(word));
        let own = &args.compose;
        let request = Request {
            files: paths(files),
            profiles: own.compose_profile.clone(),
            env_files: own.env_file.clone(),
            name: own.project_name.clone(),
            directory: own.project_directory.clone(),
        };
        let settings = self.compose_settings(&args.project)?;
        let (set, build_args) = (args.project.set.clone(), args.project.build_arg.clone());
        let variables = |name: &str| self.environment.variables.get(name).cloned();
        let given = Given { set: &set, build_args: &build_args, variables: &variables };
        let devcontainer = own.devcontainer.clone();
        let order = Order {
            request: &request,
            around: self.surroundings(settings.as_ref()),
            names: &names,
            in_place: own.in_place,
            devcontainer: devcontainer.as_deref(),
            file: settings.as_ref().map(|settings| settings.file.as_path()),
            given: &given,
        };
        let prepared = compose::prepare(&order)?;
        if args.list {
            return list::list(prepared.project(), prepared.names(), args.json, &mut Output::report());
        }
        let root = prepared.root().to_owned();
        let runner = self.runner(&root, args.talk.verbosity());
        let tools = self.tools_of(&root, &args.project);
        args.names = prepared.names().to_vec();
        let routed = self.routed(prepared.project(), &args.profile, &runner)?;
        let options = self.bake_options(args, &root, routed);
        let state = self.environment.state_folder();
        prepared.bake(&options, state.as_deref(), (&tools, &runner), &mut Output::report())
    }

    /// `unbake`.
    ///
    /// # Errors
    /// Compose files that are not there; files that were edited since the bake.
    pub fn unbake(&self, args: &UnbakeArgs) -> miette::Result<Outcome> {
        let settings = self.compose_settings(&args.project)?;
        let (files, directory) = (args.files.clone(), args.project_directory.clone());
        let request = Request { files, directory, ..Request::default() };
        let around = self.surroundings(settings.as_ref());
        let runner = self.runner(around.folder, Verbosity::Normal);
        let tools = self.tools(around.folder);
        let state = self.environment.state_folder();
        compose::unbake(&request, around, state.as_deref(), (&tools, &runner), &mut Output::report())
    }

    fn surroundings<'a>(&'a self, settings: Option<&'a Settings>) -> Surroundings<'a> {
        Surroundings {
            folder: &self.environment.folder,
            variables: &self.environment.variables,
            settings: settings.map(|settings| (&settings.compose, settings.folder.as_path())),
        }
    }

    /// What larder.toml says of compose files; none where there is no larder.toml.
    fn compose_settings(&self, args: &ProjectArgs) -> miette::Result<Option<Settings>> {
        let plain = ProjectArgs { file: args.file.clone(), ..ProjectArgs::default() };
        let (folder, project) = match self.project(&plain) {
            Err(error) if is_missing(&error) => return Ok(None),
            project => project?,
        };
        let file = match named_file(&self.environment, args) {
            Some(file) => file,
            None => config::find(&self.environment.folder)?,
        };
        Ok(Some(Settings { file, folder, compose: project.compose }))
    }
}

/// Whether a word names a compose file: no service is called so.
fn is_file(word: &str) -> bool {
    word.contains('/') || [".yml", ".yaml", ".json"].iter().any(|end| word.ends_with(end))
}

fn paths(words: Vec<String>) -> Vec<Utf8PathBuf> {
    words.into_iter().map(Utf8PathBuf::from).collect()
}
