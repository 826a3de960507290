//! All tables of larder.toml and their keys, in words.

use toolkit::tables;

use super::limits::{ENGINE_LIMITS, EXTRA};
use super::{Key, Kind, key};

pub(crate) const PACKAGES: &str = "the package clients whose downloads come through pkgcache: `apt`, `cargo`, `dnf`, `huggingface`, `npm`, `ollama`, `pip`, `torch` (vendors' indexes of wheels). In no key; what stays of it in an image is in its history alone, and only of `huggingface`, `ollama` and `torch`";

pub(crate) const CACHE: &[Key] = &[
    key(
        "images",
        Kind::Flag,
        false,
        "whether images and disks are looked for in the store, and saved; `true`",
    ),
    key(
        "packages",
        Kind::Flag,
        false,
        "whether builds are led to the package cache, where `packages` says so; `true`",
    ),
];

pub(crate) const PACK: &[Key] = &[
    key("dir", Kind::Text, true, "the folder whose files become the image"),
    key("entrypoint", Kind::Words, true, "the command that the image runs"),
    key("env", Kind::Pairs, true, "variables that its processes see"),
    key("workdir", Kind::Text, true, "the folder that they start in"),
    key("labels", Kind::Pairs, true, "labels of the image"),
];

pub(crate) const SECRET: &[Key] = &[
    key("env", Kind::Text, false, "the environment variable that has it"),
    key("file", Kind::Text, false, "the file that has it, relative to larder.toml"),
];

pub(crate) const ENGINE_CACHE: &[Key] = &[
    key(
        "tiers",
        Kind::Flag,
        false,
        "whether layers come from the tiers that the profile reads, and go to those that it writes. A registry has them in REPOSITORY-layers; a store is served to docker meanwhile; a bucket has none. podman from 4.3 on can, and docker as for `to`",
    ),
    key(
        "from",
        Kind::Texts,
        false,
        "images in registries whose layers the engine may take, as `--cache-from` has them",
    ),
    key(
        "to",
        Kind::Texts,
        false,
        "images in registries that a build writes its layers to, all stages', as `--cache-to` does. docker with buildx has it, where docker keeps images with containerd or BUILDX_BUILDER names a builder; else it is left out, with a warning",
    ),
];

pub(crate) const IMAGE: &[Key] = &[
    key("description", Kind::Text, false, "what the image is, for `larder list`"),
    key(
        "extends",
        Kind::Words,
        false,
        "images of the file, or tables `[x-NAME]`, whose settings count where this one says nothing; all but `description`, `matrix`, `outputs` and `tags`",
    ),
    key(
        "matrix",
        Kind::Lists,
        true,
        "an image for each combination of values: NAME-VALUE. Each value is an arg, and stands for `{NAME}` in all texts of the table",
    ),
    key("context", Kind::Text, true, "the folder that the engine reads, relative to larder.toml; `.`"),
    key("dockerfile", Kind::Text, true, "relative to the context; `Dockerfile`"),
    key("target", Kind::Text, true, "the stage to build; the last"),
    key(
        "args",
        Kind::Values,
        true,
        "build arguments. `true` takes the environment variable of that name; `${VAR}`, `${VAR:-x}` and `${VAR-x}` stand for variables, `$${` for `${`",
    ),
    key("platform", Kind::Text, true, "such as `linux/arm64`; linux on this machine's architecture"),
    key(
        "platforms",
        Kind::Texts,
        true,
        "in the place of `platform`: an image for each, NAME@PLATFORM, with a key of its own. In the engine, the tags of all but this machine's own platform end in it, as in `app:1-linux-arm64`, unless they have `{platform}`. The store joins them in an index, NAME",
    ),
    key(
        "base",
        Kind::Pairs,
        true,
        "digests of images by the names that the Dockerfile has for them; they go before larder.lock",
    ),
    key(
        "contexts",
        Kind::Pairs,
        true,
        "named contexts: folders relative to larder.toml, `image:NAME` for an image of the file, or addresses, such as `docker-image://NAME:TAG`. podman has them, and docker with buildx",
    ),
    key("labels", Kind::Pairs, true, "labels of the image; variables as in `args`"),
    key(
        "secrets",
        Kind::Named(SECRET),
        false,
        "what the build may read with `RUN --mount=type=secret`. In no key, log or report; one that is missing is an error before anything runs",
    ),
    key(
        "ssh",
        Kind::FlagOrTexts,
        false,
        "whether the build may use the user's ssh agent, or which keys, as `--ssh` has them",
    ),
    key(
        "inputs-env",
        Kind::Texts,
        true,
        "environment variables whose values are inputs, though no build is told them: what a secret stands for, a date. A digest of each value stands with the key, so that a short secret could be guessed from it",
    ),
    key("network", Kind::Text, false, "the network of `RUN` instructions: `host`, `none`, `default`"),
    key("packages", Kind::Texts, false, PACKAGES),
    key("engine-cache", Kind::Table(ENGINE_CACHE), false, "registries that help a build along"),
    key(
        "needs",
        Kind::Texts,
        true,
        "images and disks of the file that are baked first though the Dockerfile does not name them; their keys are in this one's. One whose outputs this build reads in its context comes first by itself",
    ),
    key("timeout", Kind::Text, false, "how long a build may take, such as `30m`"),
    key(
        "tags",
        Kind::Texts,
        false,
        "the names in the engine; `NAME:latest`. `{image}` stands for the image's name; variables as in `args`",
    ),
    key(
        "ignore",
        Kind::OneOf(&["docker", "all"]),
        true,
        "`all`: git's ignore rules count too, and the engine gets exactly the hashed files; `docker`",
    ),
    key(
        "engine",
        Kind::OneOf(tables::ENGINES),
        true,
        "what builds; docker if it answers, else podman. An image and the images of the file that it is built from have one engine",
    ),
    key("cache", Kind::Table(CACHE), false, "which caches it uses"),
    key("use-image-cache", Kind::Flag, false, "the older name of `cache.images`"),
    key(
        "outputs",
        Kind::Places,
        false,
        "files of the image that belong into the project: places on the left, paths or patterns in the image on the right",
    ),
    key(
        "lock",
        Kind::Flag,
        false,
        "whether larder.lock says which images the names in the Dockerfile and in `contexts` stand for, and what `ADD` and contexts fetch from addresses; `true`",
    ),
    key(
        "refresh",
        Kind::Text,
        false,
        "after what time a locked image is resolved anew, such as `30d`; `never`",
    ),
    key(
        "pack",
        Kind::Table(PACK),
        true,
        "makes the image of a folder, without an engine and without a Dockerfile",
    ),
];

pub(crate) const DISK: &[Key] = &[
    key("description", Kind::Text, false, "what the disk is, for `larder list`"),
    key(
        "inputs",
        Kind::Texts,
        true,
        "patterns of the files that `run` reads, relative to larder.toml: at least one, which names a file",
    ),
    key("args", Kind::Values, true, "variables that `run` sees; values as in an image's `args`"),
    key("run", Kind::Text, true, "the line for `sh -c` that makes it and writes it to `$LARDER_OUTPUT`"),
    key("output", Kind::Text, false, "where it goes, relative to larder.toml; a folder ends with a slash"),
    key(
        "needs",
        Kind::Texts,
        true,
        "images and disks of the file that are baked first; their keys are in this one's. One whose outputs `inputs` names comes first by itself",
    ),
    key("cache", Kind::Table(CACHE), false, "which caches it uses"),
    key("use-image-cache", Kind::Flag, false, "the older name of `cache.images`"),
    key("packages", Kind::Texts, false, PACKAGES),
    key("timeout", Kind::Text, false, "how long `run` may take, such as `30m`"),
];

pub(crate) const STEP: &[Key] = &[
    key("name", Kind::Text, false, "what the table of times calls it"),
    key("run", Kind::Text, false, "the line for `sh -c`, in the folder of larder.toml or in `dir`"),
    key("image", Kind::Text, false, "an image that is baked first; its name is in `$LARDER_IMAGE`"),
    key(
        "bake",
        Kind::Texts,
        false,
        "images and disks that are baked here, by their names or patterns. Where any step has this, `ci` bakes nothing else",
    ),
    key(
        "when",
        Kind::OneOf(&["always", "manual"]),
        false,
        "`manual`: only with `ci STEP` or `ci --with STEP`",
    ),
    key(
        "inputs",
        Kind::Texts,
        false,
        "patterns of what it reads: where that is as it was at its last success, and so are `run`, `dir`, the key of `image` and the values of `env`, the step is skipped. One that names no file is an error",
    ),
    key(
        "outputs",
        Kind::Texts,
        false,
        "patterns of what it makes: it is not skipped where there is nothing of one, and has failed where it made none",
    ),
    key(
        "env",
        Kind::Texts,
        false,
        "environment variables that it needs: without a value in one, nothing runs. What it prints is shown and kept with these values masked, but for those with fewer than 4 letters",
    ),
    key("timeout", Kind::Text, false, "how long `run` may take, such as `30m`"),
    key(
        "dir",
        Kind::Text,
        false,
        "the folder that `run` runs in, relative to larder.toml; it is there before anything runs, or in `outputs` of an image, a disk or a step before",
    ),
];

pub(crate) const CI: &[Key] = &[
    key("step", Kind::Several(STEP), false, "`[[ci.step]]`: the steps, in order"),
    key("steps", Kind::Several(STEP), false, "the same as one list"),
    key("log", Kind::Text, false, "a folder for what each step prints, and for `times.ndjson`"),
];

pub(crate) const COMPOSE: &[Key] = &[
    key("files", Kind::Texts, false, "the compose files, the lowest first; those that compose finds"),
    key("services", Kind::Texts, false, "the services to bake; all that have `build`"),
    key("profiles", Kind::Texts, false, "the active profiles of the compose files"),
    key("env-files", Kind::Texts, false, "files of variables in the place of `.env`"),
    key(
        "write",
        Kind::OneOf(&["override", "in-place"]),
        false,
        "`override`: the images are pinned in docker-compose.larder.yml, beside the first file; `in-place`: in the files themselves",
    ),
    key(
        "devcontainer",
        Kind::Text,
        false,
        "a devcontainer.json: docker-compose.larder.yml is added to its `dockerComposeFile`",
    ),
];

pub(crate) const STORE: &[Key] =
    &[key("dir", Kind::Text, false, "where the store is, relative to this file")];

pub(crate) const LARDER: &[Key] = &[key(
    "version",
    Kind::Text,
    false,
    "the oldest larder that will do, such as `0.1`, or a range: `>=0.1, <0.3`. Checked first",
)];

pub(crate) const TIER: &[Key] = &[
    key("store", Kind::Text, false, "the folder of another store, relative to larder.toml"),
    key(
        "registry",
        Kind::Text,
        false,
        "a repository in a registry, without a tag: `registry.example/team/cache`. Each image is there under its key",
    ),
    key(
        "s3",
        Kind::Text,
        false,
        "a bucket of an object store: `https://s3.example/bucket`, with or without a beginning for all keys behind it. Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    key(
        "timeout",
        Kind::Text,
        false,
        "how long it may keep silent, and how long its slow answers may take together in a run: those of more than half a second, or a second with TLS; then it is left out for the rest of the run, with one warning; `10s`",
    ),
    key(
        "signed-by",
        Kind::Texts,
        false,
        "files of public keys (Ed25519, PEM), relative to this file: what none of them has signed counts as not there, and engines take no layers from there. What is built is signed with LARDER_SIGNING_KEY, a private key or the path of one; what came from elsewhere is not",
    ),
    key(
        "login",
        Kind::Table(LOGIN),
        false,
        "the variables that jobs of `larder ci --emit` log in to the registry with, where they write the tier. Elsewhere, `docker login` or `podman login` is done by hand",
    ),
];

pub(crate) const LOGIN: &[Key] = &[
    key("user", Kind::Text, false, "the variable that has the user's name"),
    key("password", Kind::Text, false, "the variable that has the password, or a token in its place"),
];

pub(crate) const WHEN: &[Key] = &[
    key(
        "event",
        Kind::Words,
        false,
        "what led to the build, as the CI says: `push`, `pull_request`, `schedule`, `manual`, `release`, or its own word; a pattern, or a list of them",
    ),
    key("branch", Kind::Words, false, "the branch that is built; a pull request has none"),
    key("tag", Kind::Words, false, "the git tag that is built"),
];

pub(crate) const TAG: &[Key] = &[
    key("name", Kind::Text, false, "the name"),
    key(
        "move",
        Kind::OneOf(&["always", "forward"]),
        false,
        "`forward`: only where no higher version of those in the repository has the name, and never to a pre-release; where no version is built it stays; `always`",
    ),
];

pub(crate) const PROFILE: &[Key] = &[
    key(
        "when",
        Kind::Table(WHEN),
        false,
        "for which builds it counts: all that is said must fit. Left out, it counts where no other profile does; where several fit, the one that is trusted least. `--profile` and LARDER_PROFILE name one themselves",
    ),
    key(
        "trust",
        Kind::Number,
        false,
        "0 to 255; `0`. A profile that reads what one with a smaller number writes, as a tier or with `tags`, is refused, however the place is spelt",
    ),
    key(
        "read",
        Kind::Texts,
        false,
        "the tiers that are asked, in this order; `machine`, this machine's store, is always the first",
    ),
    key("write", Kind::Texts, false, "the tiers that what is built goes to; `machine` is always one"),
    key(
        "tags",
        Kind::Rules(TAG),
        false,
        "the names that images get in registries when all are baked: `registry.example/team/{image}:v{version}`, or `{ name = …, move = … }`. There are `{image}`, `{branch}`, `{sha}`, `{sha7}`, `{version}`, `{minor}` (1.2), `{major}` (1) and `{date}`; what a build has no value for is left out. A version has three numbers, `v1.2.3` or `app/v1.2.3` as a git tag, as docker/metadata-action's `type=semver` has it: `v3`, `v1.2` and `release-5.0.0` are none",
    ),
    key(
        "also-read",
        Kind::Texts,
        false,
        "names in registries, as in `tags`, under which an image is looked for when no tier has it; it is taken where it was made for the very key",
    ),
];

pub(crate) const FILE: &[Key] = &[
    key("image", Kind::Named(IMAGE), true, "an image, built from a Dockerfile or packed from a folder"),
    key(
        "service",
        Kind::Services,
        true,
        "what a compose file cannot say of a service that it builds, for `bake --compose`",
    ),
    key("compose", Kind::Table(COMPOSE), false, "what `bake --compose` does where no flag says otherwise"),
    key("disk", Kind::Named(DISK), true, "what a command makes: a disk image, an archive or a folder"),
    key(
        "defaults",
        Kind::Any,
        true,
        "keys of `[image.NAME]` for all images that do not say them: all but `description`, `extends`, `matrix`, `outputs` and `pack`. Of a disk, `cache` and `timeout`",
    ),
    key("cache", Kind::Table(CACHE), false, "both caches for the whole file"),
    key("ci", Kind::Table(CI), false, "what `larder ci` runs"),
    key("store", Kind::Table(STORE), false, "the store of all tools"),
    key("tier", Kind::Named(TIER), false, "where else images are kept under their keys"),
    key("profile", Kind::Named(PROFILE), false, "what a kind of build reads, writes and tags"),
    key("larder", Kind::Table(LARDER), false, "larder itself"),
    key(
        "gcctl",
        Kind::Foreign(tables::GCCTL, &[ENGINE_LIMITS]),
        false,
        "limits of the store, see `gcctl --help`; `[gcctl.NAME]` has those of a tier, see `larder tier collect --help`; `[[gcctl.engine]]` says what `gcctl engine plan` may take of docker's and podman's own stores",
    ),
    key(
        "extra",
        Kind::Several(EXTRA),
        false,
        "folders of other tools that `gcctl` lists and keeps within limits; see below",
    ),
    key(
        "pkgcache",
        Kind::Foreign(tables::PKGCACHE, &[]),
        false,
        "the package cache, see `pkgcache serve --help`",
    ),
];
