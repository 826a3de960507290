//! The variables by which engines tell a build its platforms.

use std::collections::BTreeMap;

use storekit::Platform;

use super::Request;
use crate::dockerignore::Engine;

/// The variables that the engine sets in the global scope, `stage` being the one that is built. A
/// build argument of the same name takes precedence.
///
/// Builders before `BuildKit` set none, Podman those of both platforms, `BuildKit` the stage's name
/// too.
pub(super) fn variables(request: &Request<'_>, stage: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    if request.engine != Engine::DockerLegacy {
        variables.extend(of_one("TARGET", request.platform));
        variables.extend(of_one("BUILD", request.build_platform));
    }
    if request.engine == Engine::BuildKit {
        variables.insert("TARGETOSVERSION".to_owned(), String::new());
        variables.insert("BUILDOSVERSION".to_owned(), String::new());
        variables.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    }
    for (name, value) in &mut variables {
        if let Some(given) = request.build_args.get(name) {
            given.clone_into(value);
        }
    }
    variables
}

fn of_one(prefix: &str, platform: &Platform) -> [(String, String); 4] {
    let variable = |name: &str, value: String| (format!("{prefix}{name}"), value);
    [
        variable("PLATFORM", platform.to_string()),
        variable("OS", platform.os().to_owned()),
        variable("ARCH", platform.architecture().to_owned()),
        variable("VARIANT", platform.variant().unwrap_or_default().to_owned()),
    ]
}
