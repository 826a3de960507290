//! What pip itself sees in pages: the same in the upstream's and in those that are written here.

use std::io::Write as _;
use std::process::{Command, Stdio};

use larder_tests::{Part, have, tools};
use serde_json::{Value as Json, json};

use super::*;

const SHA: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Pages that are written in as many ways as there are.
fn pages() -> Vec<(Form, String)> {
    let html = [
        format!("<a href='six-1.0.tar.gz#sha256={SHA}'>six-1.0.tar.gz</a><a href='../x/six-1.1.zip'>six-1.1.zip</a>"),
        format!(
            "<!doctype html><html><head><base href=\"/files/\"><title><a href='six-9.zip'></title></head>\
             <!-- <a href='six-8.zip'>x</a> --><script>'<a href=\"six-7.zip\">'</script>\
             <A HREF=six-1.0-py3-none-any.whl#sha256={SHA} DATA-REQUIRES-PYTHON='&gt;=3.8, &lt;4' \
             data-core-metadata=\"sha256={SHA}\" data-dist-info-metadata='sha256={SHA}'>six</a>"
        ),
        "<a href=\"//files.example/six-1.2%2Blocal.tar.gz#md5=d41d8cd98f00b204e9800998ecf8427e\" data-yanked>x</a>\
         <a data-yanked='&quot;bad&quot; &amp; &#39;old&#39; &#x3c;1' href = 'https://files.example/a%20b/six-1.3.zip' >x</a\n>\
         <a\thref=\"six-1.4.zip\"\ndata-requires-python=\">3\"/>"
            .to_owned(),
    ];
    let json = json!({
        "meta": {"api-version": "1.1"}, "name": "six", "versions": ["1.0"],
        "files": [
            {"filename": "six-1.0.tar.gz", "url": "six-1.0.tar.gz", "hashes": {"sha256": SHA}, "size": 1},
            {"filename": "six-1.0-py3-none-any.whl", "url": "https://files.example/six-1.0-py3-none-any.whl",
             "hashes": {"sha256": SHA}, "size": 2, "requires-python": ">=3.8,<4", "yanked": "because of <b>",
             "core-metadata": {"sha256": SHA}, "dist-info-metadata": {"sha256": SHA}},
            {"filename": "six-1.2+local.zip", "url": "/a/six-1.2%2Blocal.zip", "hashes": {}, "yanked": true},
        ],
    });
    let html = html.into_iter().map(|text| (Form::PlainHtml, text));
    html.chain([(Form::Json, json.to_string())]).collect()
}

/// What pip sees in each of these.
fn seen_by_pip(pages: &Json) -> Json {
    let mut command = Command::new("python3");
    command.env("PATH", tools::path()).arg("-c").arg(include_str!("reference.py"));
    let mut pip = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    pip.stdin.take().unwrap().write_all(pages.to_string().as_bytes()).unwrap();
    let output = pip.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn pip_sees_the_same_files_here_as_there() {
    if !have(&[Part::Python]) {
        return;
    }
    let page: Uri = "https://index.example/simple/six/".parse().unwrap();
    let base = Base {
        keeps_links: false,
        here: "http://cache.example".to_owned(),
        mount: "/pypi".to_owned(),
        upstream: "https://index.example/simple/".parse().unwrap(),
    };
    let written = |sent, text: &str, wanted| {
        let mut out = Vec::new();
        render(&page, sent, &mut text.as_bytes(), &base, wanted, &super::Hidden::default(), &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    let typed = |form| if form == Form::Json { "application/vnd.pypi.simple.v1+json" } else { "text/html" };
    let mut asked = Vec::new();
    for (form, text) in pages() {
        asked.push(json!({"url": page.to_string(), "type": typed(form), "text": text}));
        for wanted in [Form::Json, Form::PlainHtml] {
            let text = written(form, &text, wanted);
            asked.push(json!({"url": "http://cache.example/pypi/six/", "type": typed(wanted), "text": text}));
        }
    }
    let seen = seen_by_pip(&Json::from(asked));
    for pages in seen.as_array().unwrap().chunks(3) {
        let [there, here @ ..] = pages else { panic!("three of each") };
        assert!(!there.as_array().unwrap().is_empty());
        for here in here {
            let mut here = here.clone();
            for (here, there) in here.as_array_mut().unwrap().iter_mut().zip(there.as_array().unwrap()) {
                let uri: Uri = there["url"].as_str().unwrap().parse().unwrap();
                // pip has its own way to escape.
                let entry = file_name(&uri).unwrap();
                let link = format!("http://cache.example/pypi/files/{}", canonical(&entry));
                assert_eq!(canonical(here["url"].as_str().unwrap()), link);
                here["url"] = there["url"].clone();
            }
            assert_eq!(here, *there);
        }
    }
}
