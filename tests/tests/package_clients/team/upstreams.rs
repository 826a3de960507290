//! What the team's project fetches, and the image that its own are built on.

use larder_tests::Session;
use larder_tests::http::Site;
use larder_tests::parts::{HUGGINGFACE, installed};

use crate::apt::repository::Repository;
use crate::huggingface::hub::Hub;
use crate::ollama::Registry;

/// Makes the wheel of a module, and prints its digest.
const WHEEL: &str = r"
import hashlib, sys, zipfile
file, name, version, module = sys.argv[1:]
text = open(module).read()
info = f'{name}-{version}.dist-info'
files = {f'{name}.py': text, f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
files[f'{info}/RECORD'] = ''.join(f'{it},,\n' for it in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(file, 'w') as out:
    for path, text in files.items():
        out.writestr(zipfile.ZipInfo(path), text)
print(hashlib.sha256(open(file, 'rb').read()).hexdigest(), end='')
";

/// Where torch's wheel is.
pub(super) const TORCH: &str = "/whl/cpu/torch-2.1%2Bcpu-py3-none-any.whl";
/// What lets an account have the hub's model.
pub(super) const TOKEN: &str = "hf_word";
/// Where the wheel of the tools is.
pub(super) const TOOLS: &str = "/files/demo_tools-1.0-py3-none-any.whl";
/// How large Ollama's model is.
const WEIGHTS: usize = 1 << 20;

/// The program that stands for Ollama.
pub(super) const OLLAMA: &str = include_str!("ollama.py");

/// All of them.
pub(super) struct Upstreams<'a> {
    pub(super) debian: Repository<'a>,
    pub(super) pypi: Site,
    pub(super) torch: Site,
    pub(super) hub: Hub<'a>,
    pub(super) ollama: Registry<'a>,
    /// What the name of torch's weights has of their SHA-256.
    weights_head: String,
    session: &'a Session,
}

impl<'a> Upstreams<'a> {
    /// Made in the folder of a session of their own.
    pub(super) fn new(session: &'a Session) -> Self {
        let (debian, hub) = (Repository::new(session, true), Hub::new(session));
        hub.gate(&[TOKEN]);
        let (pypi, torch) = (Site::new(), Site::new());
        session.write("wheel.py", WHEEL);
        let wheel = |file: &str, name: &str, version: &str, text: &str| {
            session.write("module.py", text);
            let line = format!("python3 wheel.py '{file}' {name} {version} module.py");
            let digest = session.run(&line).ok().stdout();
            (digest, std::fs::read(session.path(file)).unwrap())
        };
        let tools = "demo_tools-1.0-py3-none-any.whl";
        let (digest, bytes) = wheel(tools, "demo_tools", "1.0", "");
        pypi.put(TOOLS, bytes);
        let page = format!("<a href=\"/files/{tools}#sha256={digest}\">{tools}</a>");
        pypi.put_with("/simple/demo-tools/", "content-type: text/html", page);
        let file = "torch-2.1+cpu-py3-none-any.whl";
        let (_, bytes) = wheel(file, "torch", "2.1+cpu", include_str!("torch.py"));
        torch.put(TORCH, bytes);
        let page = format!("<a href=\"{TORCH}\">{file}</a>");
        torch.put_with("/whl/cpu/torch/", "content-type: text/html", page);
        let weights = "weights of tiny\n".repeat(10_000);
        session.write("weights", &weights);
        let weights_head = session.run("sha256sum weights | cut -c-8").ok().stdout().trim().to_owned();
        torch.put(&format!("/models/tiny-{weights_head}.pth"), weights);
        let ollama = Registry::of(session, WEIGHTS);
        Self { debian, pypi, torch, hub, ollama, weights_head, session }
    }

    /// Where torch's weights are.
    pub(super) fn weights(&self) -> String {
        format!("/models/tiny-{}.pth", self.weights_head)
    }

    fn sites(&self) -> [&Site; 7] {
        let Self { debian, pypi, torch, hub, ollama, .. } = self;
        [&debian.site, pypi, torch, &hub.site, &hub.cdn, &ollama.site, &ollama.cdn]
    }

    /// None of them answers any more.
    pub(super) fn unplug(&self) {
        self.sites().iter().for_each(|site| site.unplug());
    }

    /// They answer again.
    pub(super) fn heal(&self) {
        self.sites().iter().for_each(|site| site.heal());
    }

    /// They have forgotten what they were asked.
    pub(super) fn forget(&self) {
        self.sites().iter().for_each(|site| site.forget());
    }

    /// How often any of them was asked.
    pub(super) fn requests(&self) -> usize {
        self.sites().iter().map(|site| site.requests()).sum()
    }

    /// How often each file of some size was fetched: no more than once.
    #[track_caller]
    pub(super) fn fetched_once(&self) {
        let Self { torch, hub, ollama, pypi, .. } = self;
        let files = [
            (torch, "torch-2.1"),
            (torch, ".pth"),
            (&hub.cdn, "/blobs/weights"),
            (&ollama.cdn, "/sha256:"),
            (pypi, ".whl"),
        ];
        for (site, part) in files {
            let log = site.log();
            let bodies = log.iter().filter(|it| it.request.method == "GET" && it.request.path.contains(part));
            let mut paths: Vec<_> = bodies.map(|it| it.request.path.split('?').next().unwrap()).collect();
            let all = paths.len();
            paths.sort_unstable();
            paths.dedup();
            assert!(all > 0 && all == paths.len(), "{part}: {log:?}");
        }
    }

    /// A text of the guide, with their addresses.
    pub(super) fn named(&self, text: &str) -> String {
        let Self { debian, pypi, torch, hub, ollama, .. } = self;
        let at = format!("{{ kind = \"ollama\", url = \"{}\" }}", ollama.site.url());
        [
            ("{ kind = \"ollama\" }", at.as_str()),
            ("http://deb.example", &debian.site.url()),
            ("https://pypi.example", &pypi.url()),
            ("https://torch.example", &torch.url()),
            ("https://hub.example", &hub.site.url()),
            ("tiny-1a2b3c4d.pth", &format!("tiny-{}.pth", self.weights_head)),
            ("cdn.hub.example", &hub.cdn.authority()),
            ("cdn.ollama.example", &ollama.cdn.authority()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Builds an image on `base` whose clients know these upstreams, and no cache, by themselves.
    pub(super) fn image(&self, engine: &str, base: &str, name: &str) {
        let session = self.session;
        let library = installed(HUGGINGFACE);
        let library = library.parent().and_then(camino::Utf8Path::parent).unwrap().join("lib");
        session
            .run(&format!(
                "mkdir -p base && rm -rf base/lib && cp -r {library}/python3*/site-packages base/lib && \
                 rm -rf base/lib/pip* base/lib/setuptools* base/lib/pkg_resources base/lib/_distutils_hack base/lib/*.pth && \
                 cp right.gpg base"
            ))
            .ok();
        session.write("base/ollama", OLLAMA);
        session.write("base/sources.list", format!("deb {}/debian stable main\n", self.debian.site.url()));
        // What runs has to be in PATH, and a package of text to be read.
        session.write("base/hello", "#!/bin/sh\nhead -1 /usr/share/data | sed 's/^/hello: /'\n");
        session.write(
            "base/Dockerfile",
            format!(
                "FROM {base}\nLABEL test={name}\n\
                 ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1\n\
                 RUN rm -rf /etc/apt/sources.list.d && mkdir -p /usr/local/lib/python3.11/dist-packages\n\
                 COPY sources.list /etc/apt/\nCOPY right.gpg /etc/apt/trusted.gpg.d/\n\
                 COPY lib /usr/local/lib/python3.11/dist-packages\nCOPY ollama hello /usr/local/bin/\n\
                 RUN chmod 755 /usr/local/bin/ollama /usr/local/bin/hello && chmod 644 /etc/apt/trusted.gpg.d/right.gpg\n"
            ),
        );
        session.run(&format!("{engine} build -q -t {name} base")).ok();
    }
}
