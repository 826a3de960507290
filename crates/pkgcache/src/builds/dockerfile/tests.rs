//! Steps that are led, and those that are left alone.

use super::*;
use crate::builds::Vendor;

fn doors() -> Doors {
    let at = |name: &str| Some(format!("http://127.0.0.1:1/{name}/"));
    Doors {
        proxy: "http://127.0.0.1:1".into(),
        apt: vec!["deb.example".into(), "sec.example".into()],
        dnf: true,
        python: at("pypi"),
        npm: at("npm"),
        npm_host: Some("js.example".into()),
        cargo: at("crates"),
        go: None,
        huggingface: None,
        vendors: Vec::new(),
        ollama: None,
        authorities: None,
    }
}

/// What becomes of steps where hosts are intercepted.
fn intercepted(steps: &str, engine: Engine) -> (String, Vec<(&'static str, String)>, bool) {
    let proxy = "http://127.0.0.1:1".to_owned();
    let doors = Doors { proxy, authorities: Some("PEM".into()), ..Doors::default() };
    let written = rewrite(&format!("FROM a\n{steps}"), engine, &doors);
    assert!(written.arguments.is_empty());
    let secrets = written.secrets.into_iter().map(|it| (it.id, it.text)).collect();
    (written.text.replace("FROM a\n", ""), secrets, !written.has_unintercepted)
}

#[test]
fn a_step_trusts_the_authority_while_it_runs() {
    let (text, secrets, is_told) = intercepted("RUN --network=host curl x\n", Engine::BuildKit);
    assert_eq!(
        text,
        "RUN --mount=type=secret,id=larder-authorities,target=/etc/larder-authorities.pem,mode=0444 \
         --mount=type=secret,id=larder-wgetrc,target=/etc/larder-wgetrc,mode=0444 \
         --mount=type=secret,id=larder-intercept,target=/etc/larder-intercept,mode=0444 \
         --network=host . /etc/larder-intercept; curl x\n"
    );
    assert_eq!((secrets[0].clone(), is_told), (("larder-authorities", "PEM".to_owned()), true));
    let (_, secrets, _) = intercepted("RUN apt-get update", Engine::Podman);
    let apt = "Acquire::https::CaInfo \"/etc/larder-authorities.pem\";\n".to_owned();
    assert_eq!(secrets[0], ("larder-apt", apt));
    // Nothing is mounted there: what would be trusted would stay in the image.
    let step = "RUN curl x\n";
    assert_eq!(intercepted(step, Engine::Classic), (step.to_owned(), vec![], false));
    for step in ["RUN [\"curl\", \"x\"]", "RUN <<E\ncurl x\nE\n"] {
        let (text, _, is_told) = intercepted(step, Engine::BuildKit);
        assert!(!is_told && !text.contains(". /etc"), "{text}");
    }
    let doors = Doors { authorities: Some("PEM".into()), ..Doors::default() };
    let ids = beforehand(Engine::BuildKit, &doors).secrets.into_iter().map(|it| it.id);
    assert!(ids.collect::<Vec<_>>().contains(&"larder-intercept"));
}

/// What becomes of the steps where a hub of models is mounted, without its mounts.
fn told(steps: &str) -> (String, bool) {
    let hub = Some("http://127.0.0.1:1/hf".to_owned());
    let doors = Doors { huggingface: hub, proxy: "http://127.0.0.1:1".into(), ..Doors::default() };
    let written = rewrite(&format!("FROM a\n{steps}"), Engine::BuildKit, &doors);
    assert!(!written.text.contains("127.0.0.1"), "{}", written.text);
    let mount = " --mount=type=secret,id=larder-huggingface,target=/etc/larder-huggingface,mode=0444";
    let text = written.text.replace(mount, "").replace("FROM a\n", "");
    assert_eq!(written.secrets.is_empty(), !written.text.contains(mount));
    (text, !written.has_untold)
}

#[test]
fn the_shell_of_a_step_is_told_of_the_hub() {
    const TELLS: &str = "if [ -z \"$HF_ENDPOINT\" ]; then read -r HF_ENDPOINT </etc/larder-huggingface; export HF_ENDPOINT; fi;";
    let led = |step: &str, expected: &str| {
        assert_eq!(told(step), (expected.replace("TELLS", TELLS), true), "{step}");
    };
    led("RUN python3 get.py", "RUN TELLS python3 get.py");
    led(
        "RUN --mount=type=cache,target=/c hf download a/b",
        "RUN --mount=type=cache,target=/c TELLS hf download a/b",
    );
    led(
        "RUN --network=host \\\n  python3.12 x \\\n  y\n",
        "RUN --network=host TELLS \\\n  python3.12 x \\\n  y\n",
    );
    led(
        "RUN \\\n  pip install x && \\\n python -c y\n",
        "RUN TELLS \\\n  pip install x && \\\n python -c y\n",
    );
    led("RUN make", "RUN make");
    led(
        "RUN HF_ENDPOINT=http://own.example python get.py",
        "RUN HF_ENDPOINT=http://own.example python get.py",
    );
    for step in [
        "RUN [\"python3\", \"get.py\"]",
        "RUN python3 <<EOF\nimport x\nEOF\n",
        "RUN --network=host \\\n --mount=type=tmpfs,target=/x \\\n python x\n",
    ] {
        assert_eq!(told(step), (step.to_owned(), false));
    }
}

#[test]
fn the_shell_of_a_step_is_told_of_gos_proxies() {
    let doors = Doors { go: Some("http://127.0.0.1:1/go/,direct".into()), ..Doors::default() };
    let led = |step: &str, engine| rewrite(&format!("FROM golang:1\n{step}\n"), engine, &doors);
    let written = led("RUN go mod download", Engine::BuildKit);
    assert_eq!(
        written.text,
        "FROM golang:1\nRUN --mount=type=secret,id=larder-go,target=/etc/larder-go,mode=0444 \
         if [ -z \"$GOPROXY\" ]; then read -r GOPROXY </etc/larder-go; export GOPROXY; fi; go mod download\n"
    );
    assert_eq!(written.secrets[0].text, "http://127.0.0.1:1/go/,direct\n");
    let classic = led("RUN go build ./...", Engine::Classic);
    assert_eq!(classic.text, "FROM golang:1\nARG GOPROXY\nRUN go build ./...\n");
    assert_eq!(classic.arguments, [("GOPROXY", "http://127.0.0.1:1/go/,direct".to_owned())]);
    for step in ["RUN make", "RUN GOPROXY=off go build", "RUN cargo build"] {
        assert!(!led(step, Engine::Podman).text.contains("read -r"), "{step}");
    }
    assert!(led("RUN [\"go\", \"build\"]", Engine::Podman).has_untold);
    let ids: Vec<_> = beforehand(Engine::BuildKit, &doors).secrets.into_iter().map(|it| it.id).collect();
    assert_eq!(ids, ["larder-go"]);
}

/// What becomes of steps where a vendor's index and Ollama's models are mirrored.
fn asked(steps: &str, engine: Engine) -> (String, Vec<&'static str>, bool) {
    let doors = Doors {
        vendors: vec![Vendor::new("https://t.example/whl/cpu", "http://127.0.0.1:1/torch").unwrap()],
        ollama: Models::new("models.example", "127.0.0.1:1"),
        ..Doors::default()
    };
    let written = rewrite(&format!("FROM a\n{steps}"), engine, &doors);
    let text = written.text.replace("FROM a\n", "");
    (text, written.secrets.iter().map(|it| it.id).collect(), !written.has_untold)
}

#[test]
fn the_shell_of_a_step_is_told_of_vendors_and_of_models() {
    let (text, ids, is_led) = asked("RUN pip install -i https://t.example/whl/cpu torch\n", Engine::BuildKit);
    assert_eq!((ids, is_led), (vec!["larder-indexes"], true));
    assert_eq!(
        text,
        "RUN --mount=type=secret,id=larder-indexes,target=/etc/larder-indexes,mode=0444 . /etc/larder-indexes; \
         pip install -i ${LARDER_INDEX_0:-https://t.example/whl/cpu} torch\n"
    );
    let (text, ids, is_led) = asked("RUN ollama serve & \\\n  ollama pull tiny\n", Engine::Podman);
    assert_eq!((ids, is_led), (vec!["larder-ollama"], true));
    assert!(text.ends_with(" . /etc/larder-ollama; ollama serve & \\\n  ollama pull tiny\n"), "{text}");
    // What a variable may say, a step with Python may ask.
    assert_eq!(asked("RUN python3 -m pip install torch", Engine::Podman).1, ["larder-indexes"]);
    assert_eq!(asked("RUN make", Engine::Podman), ("RUN make".to_owned(), vec![], true));
    for step in [
        "RUN [\"pip\", \"install\", \"-i\", \"https://t.example/whl/cpu\", \"torch\"]",
        "RUN pip install -i 'https://t.example/whl/cpu' torch",
        "RUN ollama serve & sh -c 'ollama pull tiny'",
        "RUN <<E\nollama pull tiny\nE\n",
    ] {
        assert!(!asked(step, Engine::BuildKit).2, "{step}");
    }
    assert!(asked("RUN [\"pip\", \"install\", \"x\"]", Engine::BuildKit).2);
    let (text, ids, _) =
        asked("RUN pip install -i https://t.example/whl/cpu torch && ollama pull a", Engine::Classic);
    assert!(ids.is_empty() && text.starts_with("RUN LARDER_INDEX_0=http://127.0.0.1:1/torch;"), "{text}");
    assert!(text.contains("}; pip install -i ${LARDER_INDEX_0:-"), "{text}");
}

fn ids(text: &str) -> Vec<&'static str> {
    rewrite(text, Engine::BuildKit, &doors()).secrets.iter().map(|it| it.id).collect()
}

#[test]
fn a_build_that_runs_dnf_gets_the_proxy() {
    let names = |text: &str, dnf: bool, engine: Engine| {
        let written = rewrite(text, engine, &Doors { dnf, ..doors() });
        written.arguments.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    for line in ["RUN dnf install -y x", "RUN a && \\\n  microdnf install x", "RUN [\"yum\", \"install\"]"] {
        let text = format!("FROM a\n{line}\n");
        assert_eq!(names(&text, true, Engine::BuildKit), ["http_proxy", "no_proxy"], "{line}");
        assert_eq!(names(&text, true, Engine::Podman), ["http_proxy", "no_proxy"], "{line}");
        assert!(names(&text, true, Engine::Classic).contains(&"http_proxy"), "{line}");
        assert!(names(&text, false, Engine::BuildKit).is_empty(), "{line}");
    }
    assert!(names("FROM dnf\nRUN ls /etc/yum.repos.d\nENV dnf=1", true, Engine::BuildKit).is_empty());
}

#[test]
fn apt_is_led_for_the_caches_hosts_alone() {
    let expected = "Acquire::http::Proxy::deb.example \"http://127.0.0.1:1/\";\n\
                    Acquire::http::Proxy::sec.example \"http://127.0.0.1:1/\";\n";
    for engine in [Engine::BuildKit, Engine::Podman] {
        let written = rewrite("FROM a\nRUN apt-get update", engine, &doors());
        assert_eq!(written.secrets[0], Secret { id: "larder-apt", text: expected.into() });
        assert!(written.arguments.is_empty(), "{:?}", written.arguments);
    }
    let none = rewrite("FROM a\nRUN apt-get update", Engine::BuildKit, &Doors { apt: vec![], ..doors() });
    assert!(!none.text.contains("apt.conf.d"), "{}", none.text);
    let written = rewrite("FROM a\nRUN apt-get update", Engine::Classic, &doors());
    assert!(expected.lines().all(|line| written.text.contains(&format!(" '{line}'"))), "{}", written.text);
    assert!(!written.arguments.iter().any(|(name, _)| name.contains("proxy")), "{:?}", written.arguments);
}

#[test]
fn only_steps_are_changed() {
    let text = "# syntax=docker/dockerfile:1\n\nFROM debian\nENV A=1 \\\n    # run npm\n    B=2\n\
                COPY <<EOF /x\nRUN npm\nEOF\nRUN echo <<E2 \\\n  apt-get\nnpm\nE2\nCMD [\"npm\"]";
    let written = rewrite(text, Engine::BuildKit, &doors()).text;
    let mounts: Vec<_> = written.matches("--mount").collect();
    assert_eq!(mounts.len(), 4, "{written}");
    let stripped: String = written
        .split(' ')
        .filter(|word| !word.starts_with("--mount=type=secret,id=larder-"))
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(stripped, text);
}

#[test]
fn each_step_gets_the_settings_of_its_clients() {
    assert_eq!(ids("FROM a\nRUN /usr/bin/apt-get update"), ["larder-apt", "larder-pip"]);
    assert_eq!(ids("FROM a\nRUN make && npm ci"), ["larder-pip", "larder-npm"]);
    assert_eq!(ids("FROM a\nRUN adapt-get x"), ["larder-pip"]);
    assert_eq!(ids("FROM a\nRUN [\"cargo\", \"build\"]"), ["larder-pip", "larder-cargo"]);
    assert!(ids("FROM a\nRUN --mount=type=secret,id=x,target=/etc/pip.conf pip install y").is_empty());
    assert!(ids("FROM a\n# RUN npm ci\nONBUILD RUN npm ci").is_empty());
}

#[track_caller]
fn targets(text: &str, expected: &str) {
    let written = rewrite(text, Engine::Podman, &doors()).text;
    assert!(written.contains(expected), "{written}");
}

#[test]
fn cargo_reads_its_settings_where_the_image_has_its_home() {
    targets("FROM x/rust:1 AS b\nRUN cargo build", "target=/usr/local/cargo/config.toml");
    targets("FROM a\nENV CARGO_HOME=/c\nRUN cargo build", "target=/c/config.toml");
    targets("FROM a\nENV X=1 CARGO_HOME=\"/d\"\nRUN cargo build", "target=/d/config.toml");
    targets("FROM rust\nFROM a\nRUN cargo build", "target=/root/.cargo/config.toml");
    let other = rewrite("FROM a\nUSER me\nRUN cargo build", Engine::Podman, &doors()).text;
    assert!(!other.contains("larder-cargo"), "{other}");
}

#[test]
fn what_a_dockerfile_may_need_is_known_before_it() {
    let all = beforehand(Engine::Podman, &doors());
    let ids: Vec<_> = all.secrets.iter().map(|secret| secret.id).collect();
    assert_eq!(ids, ["larder-apt", "larder-pip", "larder-npm", "larder-cargo", "larder-uv"]);
    assert!(all.arguments.is_empty());
    let text = "FROM a\nRUN apt-get update && npm ci && cargo build && uv pip install x\n";
    assert_eq!(all.secrets, rewrite(text, Engine::Podman, &doors()).secrets);
    let classic = beforehand(Engine::Classic, &doors());
    assert_eq!(classic.arguments, rewrite("FROM a\n", Engine::Classic, &doors()).arguments);
    assert!(classic.secrets.is_empty() && !classic.arguments.is_empty());
}

#[test]
fn uv_is_led_where_it_reads_no_lock_file() {
    let is_led = |text: &str| ids(&format!("FROM a\n{text}")).contains(&"larder-uv");
    assert!(is_led("RUN uv pip install --system x") && is_led("RUN uv venv && uv pip sync r.txt"));
    for text in [
        "RUN uv sync --locked",
        "RUN uv pip install x && uv sync",
        "RUN uv tool install x",
        "RUN uv pip compile -o r.txt r.in",
        "RUN uv pip -q --python 3.11 compile -o pylock.toml r.in",
        "RUN uv pip compile r.in >r.txt && uv pip sync r.txt",
    ] {
        assert!(!is_led(text), "{text}");
    }
    assert!(!is_led("COPY uv.toml /\nRUN uv pip install x"));
    assert!(is_led("COPY uv.toml /\nFROM b\nRUN uv pip install x"));
}

#[test]
fn pip_is_led_where_it_writes_no_lock_file() {
    for (step, is_led) in [
        ("pip install x", true),
        ("pip install uv && uv lock", true),
        ("make", true),
        ("pip lock x", false),
        ("pip --timeout 10 --log f lock x", false),
        ("pip -v install lock", true),
        ("pip3.12 -q lock -r r.txt", false),
        ("python3 -m pip lock x && pip install x", false),
    ] {
        assert_eq!(ids(&format!("FROM a\nRUN {step}")).contains(&"larder-pip"), is_led, "{step}");
    }
    let (lock, led) = classic("RUN pip lock x");
    let unset = "if [ \"$PIP_INDEX_URL\" = 'http://127.0.0.1:1/pypi/' ]; then unset PIP_INDEX_URL; fi;";
    assert_eq!((lock.as_str(), led), (format!("RUN {unset} pip lock x").as_str(), true));
}

/// What the classic builder makes of the steps, and whether all are led.
fn classic(steps: &str) -> (String, bool) {
    let written = rewrite(&format!("FROM a\n{steps}"), Engine::Classic, &doors());
    let steps = written.text.lines().filter(|line| !line.starts_with("ARG") && *line != "FROM a");
    (steps.collect::<Vec<_>>().join("\n"), !written.has_unled)
}

#[test]
fn the_classic_builders_shell_sets_what_has_no_argument() {
    let (uv, led) = classic("RUN uv pip install x");
    let set = "export UV_DEFAULT_INDEX=\"${UV_DEFAULT_INDEX:-http://127.0.0.1:1/pypi/}\";";
    assert_eq!((uv.as_str(), led), (format!("RUN {set} uv pip install x").as_str(), true));
    assert!(classic("RUN cargo build \\\n  --locked").1);
    for steps in ["RUN make", "RUN uv sync", "RUN [\"npm\", \"ci\"]"] {
        assert_eq!(classic(steps), (steps.to_owned(), true));
    }
    // There is no shell, or it does not come to take the settings away.
    for step in [
        "RUN [\"cargo\", \"build\"]",
        "RUN exec cargo build",
        "RUN trap x EXIT; cargo build",
        "RUN [\"apt-get\", \"update\"]",
        "RUN exec apt-get update",
    ] {
        assert_eq!(classic(step), (step.to_owned(), false));
    }
}

#[test]
fn the_settings_of_a_step_are_there_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |step: &str, home: &str| {
        let (text, _) = classic(&format!("RUN {step}"));
        let text = text.replace("/etc/apt/apt.conf.d", &dir.path().join("apt").display().to_string());
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", text.strip_prefix("RUN").unwrap()]).env_remove("CARGO_HOME").env("HOME", home);
        let ran = sh.current_dir(dir.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&ran.stdout) + &text(&ran.stderr), ran.status.code())
    };
    let home = dir.path().join("home").display().to_string();
    let file = dir.path().join("home/.cargo/config.toml");
    let expected = doors().cargo_config().unwrap();
    // A function stands for the program.
    let step = "cargo() { cat \"$HOME/.cargo/config.toml\"; }; cd / && cargo";
    assert_eq!(run(step, &home), (expected, Some(0)));
    assert!(!file.exists() && file.parent().unwrap().is_dir());
    assert_eq!(run("cargo() { return 7; }; cargo", &home).1, Some(7));
    assert!(!file.exists());
    // Two clients in one step, and apt where there is no folder of its settings.
    let both = "apt() { cat \"$larder_apt\"; }; apt; ls \"$larder_cargo\" # cargo";
    assert_ne!(run(both, &home).1, None);
    assert!(run(both, &home).0.contains("config.toml") && !file.exists());
    let conf = dir.path().join("apt/99larder");
    assert!(!conf.exists());
    std::fs::create_dir(dir.path().join("apt")).unwrap();
    let (said, code) = run(both, &home);
    assert_eq!((said, code), (doors().apt_conf().unwrap() + &format!("{}\n", file.display()), Some(0)));
    assert!(!conf.exists() && !file.exists());
    // The image's own stay, and are the ones that count.
    std::fs::write(&file, "own\n").unwrap();
    assert_eq!(run(step, &home), ("own\n".to_owned(), Some(0)));
    assert!(file.exists());
}

#[test]
fn another_escape_continues_lines() {
    let text = "# escape=`\nFROM a\nRUN dir c:\\\nRUN npm `\n  ci\n";
    let written = rewrite(text, Engine::BuildKit, &doors()).text;
    assert_eq!(written.matches("larder-pip").count(), 2, "{written}");
}

#[test]
fn the_classic_builder_gets_arguments() {
    let written = rewrite("FROM a\nRUN pip install x\nFROM b", Engine::Classic, &doors());
    assert_eq!(written.text.matches("ARG PIP_INDEX_URL\n").count(), 2, "{}", written.text);
    assert!(written.secrets.is_empty());
    let names: Vec<_> = written.arguments.iter().map(|(name, _)| *name).collect();
    let npm = ["npm_config_registry", "npm_config_replace_registry_host"];
    assert_eq!(names, [&["PIP_INDEX_URL"][..], &npm].concat());
}

proptest::proptest! {
    #[test]
    fn nothing_is_lost(text in "([A-Z]{3,5} |<<E|\\\\|#|\n|\\PC){0,60}") {
        let written = rewrite(&text, Engine::BuildKit, &doors()).text;
        let mut stripped = written;
        while let Some(at) = stripped.find(" --mount=type=secret,id=larder-") {
            let end = at + stripped[at..].find("mode=0444").unwrap() + "mode=0444".len();
            stripped.replace_range(at..end, "");
        }
        proptest::prop_assert_eq!(stripped, text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned());
    }
}
