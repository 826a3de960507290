//! What larder.toml and the command line can say of a build, with real engines.

use larder_tests::{Part, Session, have};

const ENGINES: [(&str, Part); 2] = [("docker", Part::Docker), ("podman", Part::Podman)];

/// Does it with each engine that is there.
fn with_each_engine(run: impl Fn(&'static str)) {
    for (engine, part) in ENGINES {
        if have(&[part, Part::Docker]) {
            run(engine);
        }
    }
}

#[test]
fn a_matrix_builds_an_image_for_each_value() {
    with_each_engine(|engine| {
        let mut session = Session::new();
        let name = session.image_in(engine, "py");
        session.write("3.9", "nine\n");
        session.write("3.10", "ten\n");
        let dockerfile = session.from("scratch")
            + "ARG PY\nARG N\nARG FROM_ENV\nLABEL args=$N-$FROM_ENV\nCOPY $PY /args\n";
        session.write("Dockerfile", dockerfile);
        session.write(
            "larder.toml",
            format!(
                "[defaults]\nargs = {{ N = 7 }}\n[image.py]\nmatrix = {{ PY = [\"3.9\", \"3.10\"] }}\ntags = [\"{name}:{{PY}}\"]\n\
                 args = {{ FROM_ENV = true }}\noutputs = {{ \"out/{{PY}}\" = \"/args\" }}\n"
            ),
        );
        let bake = format!("FROM_ENV=e1 larder bake --engine {engine} --json");
        let names: Vec<_> = session.run(&bake).ok().rows().iter().map(|line| line["image"].clone()).collect();
        assert_eq!(names, ["py-3.9", "py-3.10"]);
        assert_eq!(session.file_of(engine, &format!("{name}:3.10"), "/args"), "ten\n");
        let label = format!("{engine} image inspect -f '{{{{.Config.Labels.args}}}}' {name}:3.9");
        assert_eq!(session.run(&label).ok().stdout().trim(), "7-e1");
        assert_eq!(session.run("cat out/3.9").ok().stdout(), "nine\n");
        // The variable's value is in the key, and so is what the command line sets.
        let states = |line: &str| {
            let lines = session.run(line).rows();
            lines.iter().map(|line| line["state"].as_str().expect("a state").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(states(&bake), ["hit", "hit"]);
        assert_eq!(
            states(&format!("FROM_ENV=e2 larder bake --check --engine {engine} --json")),
            ["stale", "stale"]
        );
        let set = format!("{bake} --check --set 'py-3.9.args.N=8'");
        assert_eq!(states(&set), ["stale", "hit"]);
        let one = format!("{bake} --check 'py-*9'");
        assert_eq!(states(&one), ["hit"]);
        session.run(&format!("larder bake --engine {engine}")).ends(2).says("variable `FROM_ENV` is not set");
    });
}

#[test]
fn a_secret_is_read_by_the_build_and_left_nowhere() {
    with_each_engine(|engine| {
        const VALUE: &str = "s3cr3t-4-the-build-alone";
        let mut session = Session::new();
        let name = session.image_in(engine, "app");
        let below = session.base_of(engine);
        let run = "RUN --mount=type=secret,id=one --mount=type=secret,id=two sha256sum </run/secrets/one >/sum && \
                   sha256sum </run/secrets/two >>/sum\n";
        session.write("Dockerfile", session.from(&below) + run);
        session.write(".dockerignore", "two\nlarder.toml\n");
        session.write("two", VALUE);
        session.write(
            "larder.toml",
            format!(
                "[image.app]\ntags = [\"{name}:1\"]\nlabels = {{ made-for = \"tests\" }}\n\
                 secrets = {{ one = {{ env = \"ONE\" }}, two = {{ file = \"two\" }} }}\n"
            ),
        );
        let bake = format!("larder bake --engine {engine} --json -v");
        session
            .run(&bake)
            .ends(2)
            .says("image `app` needs the secret `one`: the environment variable `ONE` is not set");
        // What only looks needs no secret.
        session.run(&format!("{bake} --check")).ends(1);
        let ran = session.run(&format!("ONE={VALUE} {bake}")).ok();
        assert_eq!(ran.rows()[0]["saved"], true, "{ran}");
        let sum = session.run(&format!("printf %s {VALUE} | sha256sum")).ok().stdout();
        assert_eq!(session.file_of(engine, &format!("{name}:1"), "/sum"), format!("{sum}{sum}"));
        // Neither in the log nor in the report, the key's manifest or anything else of the store.
        assert!(!ran.stderr().contains(VALUE) && !ran.stdout().contains(VALUE), "{ran}");
        let found = session.run(&format!("grep -rl {VALUE} {}", session.store())).stdout();
        assert_eq!(found, "");
        let label = session
            .run(&format!("{engine} image inspect -f '{{{{index .Config.Labels \"made-for\"}}}}' {name}:1"));
        assert_eq!(label.ok().stdout().trim(), "tests");
        // Another value is the same key.
        assert_eq!(session.run(&format!("ONE=other {bake}")).ok().rows()[0]["state"], "hit");
    });
}

#[test]
fn a_build_asks_the_ssh_agent_and_no_key_stays() {
    // By OpenSSH's protocol for agents, 11 asks which keys there are.
    const ASK: &str = "use IO::Socket::UNIX;\n\
                       my $agent = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die \"no agent: $!\";\n\
                       syswrite $agent, pack('NC', 1, 11);\n\
                       read $agent, my $length, 4; read $agent, my $keys, unpack('N', $length);\n\
                       print unpack('H*', $keys);\n";
    if !have(&[Part::Ssh]) {
        return;
    }
    with_each_engine(|engine| {
        let mut session = Session::new();
        let name = session.image_in(engine, "app");
        let below = session.base_of(engine);
        // An engine's layer cache knows neither keys nor labels: no earlier run may have asked so.
        session.write("ask.pl", format!("# {name}\n{ASK}"));
        let run = "COPY ask.pl /\nRUN --mount=type=ssh perl /ask.pl >/keys\n";
        session.write("Dockerfile", session.from(&below) + run);
        session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:1\"]\nssh = true\n"));
        for key in ["../one", "../two"] {
            session.run(&format!("ssh-keygen -q -t ed25519 -N '' -f {key}")).ok();
        }
        let bake = |key: &str| {
            session.run(&format!(
                "ssh-agent sh -c 'ssh-add -q {key} && larder bake --engine {engine} --json -v'"
            ))
        };
        let ran = bake("../one").ok();
        assert_eq!(ran.rows()[0]["saved"], true, "{ran}");
        let public = "cut -d' ' -f2 ../one.pub | base64 -d | od -An -v -tx1 | tr -d ' \n'";
        let public = session.run(public).ok().stdout();
        let asked = session.file_of(engine, &format!("{name}:1"), "/keys");
        assert!(!public.is_empty() && asked.contains(&public), "the agent answered {asked}");
        // Each line of the key's file, in what was printed and in the store.
        let private = session.run("grep -v -- ----- ../one").ok().stdout();
        for line in private.lines() {
            assert!(!ran.stderr().contains(line) && !ran.stdout().contains(line), "{ran}");
            assert_eq!(session.run(&format!("grep -rlF {line} {}", session.store())).stdout(), "");
        }
        assert_eq!(bake("../two").ok().rows()[0]["state"], "hit", "the keys are no input");
    });
}

#[test]
fn a_build_that_takes_too_long_is_ended() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let base = session.base();
    let name = session.image("slow");
    session.write("Dockerfile", session.from(&base) + "RUN sleep 600\n");
    session.write("larder.toml", format!("[image.slow]\ntags = [\"{name}:1\"]\ntimeout = \"1s\"\n"));
    session.run("timeout 120 larder bake --engine docker").ends(2).says("was ended: it took longer than 1 s");
    session.run(&format!("docker image inspect {name}:1")).fails();
}

#[test]
fn named_contexts_are_inputs_and_edges() {
    if !have(&[Part::Podman, Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("../lib/file", "one\n");
    let [up, app] = ["up", "app"].map(|name| session.image_in("podman", name));
    session.write("up/Dockerfile", session.from("scratch") + "COPY up /up\n");
    session.write("up/up", "up 1\n");
    session.write("app/Dockerfile", session.from("below") + "COPY --from=src file /file\n");
    session.write(
        "larder.toml",
        format!(
            "[image.app]\ncontext = \"app\"\ntags = [\"{app}:1\"]\ncontexts = {{ src = \"../lib\", below = \"image:up\" }}\n\
             [image.up]\ncontext = \"up\"\ntags = [\"{up}:1\"]\n"
        ),
    );
    let bake = "larder bake --engine podman --json";
    let both = || ["/up", "/file"].map(|file| session.file_of("podman", &format!("{app}:1"), file)).concat();
    let states = |line: &str| {
        let lines = session.run(line).rows();
        lines
            .iter()
            .map(|line| format!("{} {}", line["image"], line["state"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&format!("{bake} app")), ["app built", "up built"]);
    assert_eq!(both(), "up 1\none\n");
    assert_eq!(states(bake), ["app hit", "up hit"]);
    session.write("../lib/file", "two\n");
    assert_eq!(states(&format!("{bake} --check")), ["app stale", "up hit"]);
    session.write("up/up", "up 2\n");
    assert_eq!(states(bake), ["app built", "up built"]);
    assert_eq!(both(), "up 2\ntwo\n");
}

#[test]
fn an_image_that_is_needed_is_baked_first_and_in_the_key() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("one", "1").file("two", "2");
    let [first, second] = ["first", "second"].map(|name| session.image(name));
    session.write("First", session.from("scratch") + "COPY one /\n");
    session.write("Second", session.from("scratch") + "COPY two /\n");
    session.write(
        "larder.toml",
        format!(
            "[image.second]\ndockerfile = \"Second\"\ntags = [\"{second}:1\"]\nneeds = [\"first\"]\n\
             [image.first]\ndockerfile = \"First\"\ntags = [\"{first}:1\"]\n"
        ),
    );
    let states = |line: &str| {
        let lines = session.run(line).ok().rows();
        lines
            .iter()
            .map(|line| format!("{} {}", line["image"], line["state"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(states("larder bake --json second"), ["second built", "first built"]);
    session.write("one", "1b");
    assert_eq!(states("larder bake --json second"), ["second built", "first built"]);
    session.write("one", "1");
    assert_eq!(states("larder bake --json"), ["second hit", "first hit"]);
}

#[test]
fn a_build_from_scratch_saves_nothing() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("one", "1");
    let name = session.image("app");
    session.write("Dockerfile", session.from("scratch") + "COPY one /\n");
    session.write("larder.toml", format!("[image.app]\ntags = [\"{name}:1\"]\n"));
    let ran = session.run("larder bake --no-cache --json -v").ok();
    assert_eq!(ran.rows()[0]["saved"], false);
    ran.says(" --no-cache ");
    session.run("larder bake --check").ends(1);
}

#[test]
fn another_file_and_its_local_one_count_for_all_tools() {
    let session = Session::new().file("d/file", "1");
    let pack =
        |name: &str| format!("[image.{name}]\ndescription = \"What {name} is\"\npack = {{ dir = \"d\" }}\n");
    session.write("larder.toml", pack("main"));
    session.write(
        "ci/other.toml",
        format!("[store]\ndir = \"kept\"\n{}", pack("other").replace("\"d\"", "\"../d\"")),
    );
    session.write("ci/other.local.toml", "[image.other]\ntags = [\"mine:1\"]\n");
    let line = session.run("larder bake --list -f ci/other.toml").ok().stdout();
    assert_eq!(line.lines().nth(1), Some("other  pack  mine:1  What other is"), "{line}");
    let ran = session.run("env -u LARDER_DIR larder bake -f ci/other.toml --json").ok();
    assert_eq!(ran.rows()[0]["saved"], true, "{ran}");
    assert!(session.path("ci/kept/images/oci-layout").is_file());
    assert_eq!(session.run("larder list --json").ok().rows()[0]["name"], "main");
}

#[test]
fn what_would_be_waited_for_without_end_is_refused() {
    let refused = |make: &str, toml: &str, why: &str| {
        let session = Session::new().file("d/file", "1");
        session.write("larder.toml", toml);
        session.run(make).ok();
        session.run("timeout 60 larder bake").ends(2).says(why);
        assert_eq!(session.run("ls $TMPDIR | grep bake- || true").ok().stdout(), "");
    };
    let secret = "[image.a]\nsecrets = { x = { file = \"pipe\" } }\n";
    refused("mkfifo pipe", secret, "cannot read `pipe`: it is not a regular file");
    refused("mkfifo larder.local.toml", "[image.a]\npack = { dir = \"d\" }\n", "it is not a regular file");
    refused("mkfifo Dockerfile", "[image.a]\n", "the Dockerfile `Dockerfile` is not a regular file");
    refused("mkdir Dockerfile", "[image.a]\n", "the Dockerfile `Dockerfile` is not a regular file");
    refused("printf 'x = \"\\377\"' >larder.local.toml", "", "is not UTF-8: line 1");
    let session = Session::new();
    session.run("larder bake -f none.toml").ends(2).says("there is no `");
}

#[test]
fn the_keys_that_larder_knows_of_other_tools_are_those_that_they_know() {
    for (table, line) in [("gcctl", "gcctl run"), ("pkgcache", "pkgcache serve --listen 127.0.0.1:0")] {
        let session = Session::new();
        session.write("larder.toml", format!("[{table}]\nno-such-key = 1\n"));
        // The words of a list, from its beginning on: the lines of a message end anywhere.
        let listed = |said: &str, from: &str| {
            let said = said.replace(['\n', '│'], " ");
            let (_, list) = said.split_once(from).unwrap_or_else(|| panic!("no `{from}` in: {said}"));
            let words = list.split('`').skip(1).step_by(2).take_while(|word| !word.contains(' '));
            let mut words: Vec<_> = words.map(str::to_owned).collect();
            words.sort();
            words
        };
        let own = listed(&session.run(line).ends(2).stderr(), "expected one of");
        let larder = listed(&session.run("larder list").ends(2).stderr(), "there are");
        assert_eq!(own, larder, "{table}");
        assert!(own.len() > 5, "{own:?}");
    }
}

#[test]
fn an_output_that_would_be_an_input_is_refused_before_anything_is_made() {
    let refused = |outputs: &str| {
        let session = Session::new().file("d/file", "1");
        session.write(
            "larder.toml",
            format!("[image.a]\npack = {{ dir = \"d\" }}\noutputs = {{ {outputs} }}\n"),
        );
        session.run("larder bake").ends(2).says("would be an input of").says("its folder is packed");
        assert!(!session.store().join("images").exists(), "{outputs}: something is saved");
    };
    refused("\"d/copy\" = \"/file\"");
    refused("\"d\" = \"/*\"");
    refused("\"d/\" = \"/file\"");
    let session = Session::new().file("d/file", "1");
    session.write("larder.toml", "[image.a]\npack = { dir = \"d\" }\noutputs = { \"e\" = \"/file\" }\n");
    session.run("LARDER_DOCKER=none LARDER_PODMAN=none larder bake").ok();
    session.run("cmp e d/file").ok();
}

#[test]
fn what_a_foreign_frontend_names_cannot_be_locked_and_locked_says_so() {
    let session = Session::new();
    session.write("Dockerfile", "# syntax=example.org/frontend:1\nsomething: else\n");
    session.write("larder.toml", "[image.app]\n");
    let refused = session.run("larder bake --locked --dry-run").ends(2);
    let refused =
        refused.says("what `app` is built from cannot be locked").says("`lock = false` in `[image.app]`");
    assert!(!refused.stderr().contains("warning"), "{refused}");
    session.run("CI=true larder bake --dry-run").ends(2).says("cannot be locked");
    session.write("larder.toml", "[image.app]\nlock = false\n");
    let allowed = session.run("larder bake --locked --dry-run");
    assert!(!allowed.stderr().contains("cannot be locked"), "{allowed}");
}

#[test]
fn tags_says_why_there_are_none() {
    let session = Session::new().file("d/file", "1");
    let image = "[image.a]\npack = { dir = \"d\" }\n";
    session.write("larder.toml", image);
    let none = session.run("larder tags").ok().says("larder.toml has no `[profile.NAME]` with `tags`");
    assert_eq!(none.stdout(), "");
    session.write("larder.toml", format!("{image}[profile.dev]\n"));
    session.run("larder tags --profile dev").ok().says("the profile `dev` has no `tags`");
    session.write("larder.toml", format!("{image}[profile.ci]\nwhen = {{ event = \"schedule\" }}\n"));
    session.run("larder tags").ok().says("no profile of larder.toml is for this build");
}

#[test]
fn a_dockerfile_or_a_folder_that_is_not_there_is_one_error() {
    let session = Session::new().file("Dockerfile", "FROM scratch\n");
    session.write("larder.toml", "[image.a]\ndockerfile = \"Dockerfil\"\n");
    let ran = session.run("larder bake").ends(2).says("there is no Dockerfile `Dockerfil`");
    assert!(ran.stderr().contains("is `Dockerfile` meant?"), "{ran}");
    assert_eq!(
        (ran.stderr().matches("error: ").count(), ran.stderr().contains("hashctx")),
        (1, false),
        "{ran}"
    );
    // Nothing beside it is called likewise.
    session.write("larder.toml", "[image.a]\ndockerfile = \"build/other\"\n");
    for words in ["bake", "bake --check", "why a"] {
        let ran = session.run(&format!("larder {words}")).ends(2);
        let ran = ran.says("there is no Dockerfile `build/other`");
        assert!(!ran.stderr().contains("meant?") && !ran.stderr().contains("hashctx"), "{ran}");
        assert_eq!(ran.stderr().matches("error: ").count(), 1, "{ran}");
    }
    session.write("larder.toml", "[image.a]\ncontexts = { src = \"lib\" }\n");
    let ran = session.run("larder bake").ends(2);
    let ran = ran.says("the folder `lib`, the context `src`, does not exist");
    assert!(!ran.stderr().contains("hashctx"), "{ran}");
}
