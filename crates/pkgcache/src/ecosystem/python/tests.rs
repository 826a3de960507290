//! Pages in the shape of real ones.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use storekit::Checksum;

use super::*;
use crate::ecosystem::table::{Said, Standing, Table, Voucher};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn base() -> Base {
    Base {
        keeps_links: false,
        here: "http://cache.example:3144".to_owned(),
        mount: "/pypi".to_owned(),
        upstream: "https://index.example/simple/".parse().unwrap(),
    }
}

fn page() -> Uri {
    "https://index.example/simple/zope-left/".parse().unwrap()
}

fn json_page() -> Json {
    json!({
        "alternate-locations": ["https://other.example/simple/zope-left/"],
        "files": [
            {
                "core-metadata": {"sha256": TWO}, "data-dist-info-metadata": {"sha256": TWO},
                "filename": "zope_left-1.0-py3-none-any.whl", "gpg-sig": true,
                "hashes": {"blake2b": "ab", "md5": "cd", "sha256": ONE},
                "provenance": "https://index.example/integrity/zope-left/1.0/x/provenance",
                "requires-python": ">=3.8,<4", "size": 1234, "upload-time": "2025-01-01T00:00:00Z",
                "url": "https://files.example/packages/aa/zope_left-1.0-py3-none-any.whl",
                "x-unknown": [1, {"url": "kept"}], "yanked": false,
            },
            {
                "core-metadata": false, "filename": "zope.left-0.9.tar.gz", "hashes": {"md5": "cd"},
                "requires-python": null, "url": "../../old/zope.left-0.9.tar.gz?sig=1#egg=x",
                "yanked": "broken on <b>\"Windows\"</b> & Mac",
            },
        ],
        "meta": {"_last-serial": 7, "api-version": "1.9"},
        "name": "zope-left",
        "project-status": {"reason": "see 'there'", "status": "archived"},
        "versions": ["0.9", "1.0"],
    })
}

const HTML: &str = concat!(
    "<!DOCTYPE html><html><head><meta name='pypi:repository-version' content='1.1'>",
    "<META NAME=\"pypi:project-status\" CONTENT=\"deprecated\"><base href=\"/files/\"></head><body>",
    "<a href='../'>up</a> <a href=\"https://index.example/about\">about</a> <a name=x>no link</a>\n",
    "<!-- <a href='zope_left-9.9.tar.gz'>not there</a> -->",
    "<a href=\"zope_left-1.0%2Bcpu-py3-none-any.whl#sha256=1111111111111111111111111111111111111111111111111111111111111111\"",
    " data-requires-python=\"&gt;=3.8\" data-core-metadata=sha256=2222222222222222222222222222222222222222222222222222222222222222",
    " data-dist-info-metadata='true' data-yanked data-gpg-sig=\"false\">any text</a>\n",
    "<a href='http://files.example:8080/zope.left-0.9.zip#md5=cd'>zope.left-0.9.zip</a></body></html>",
);

fn table_of(form: Form, text: &str) -> Result<Table, BadIndex> {
    let mut builder = TableBuilder::default();
    vouch(&page(), form, &mut text.as_bytes(), &mut builder)?;
    Ok(builder.finish())
}

fn rendered(sent: Form, text: &str, wanted: Form) -> Result<String, BadIndex> {
    let mut out = Vec::new();
    render(&page(), sent, &mut text.as_bytes(), &base(), wanted, &Hidden::default(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn file(url: &str, hex: Option<&str>, size: Option<u64>) -> Said {
    standing(url, hex, size, Standing::default())
}

fn standing(url: &str, hex: Option<&str>, size: Option<u64>, standing: Standing) -> Said {
    let checksum = hex.map(|hex| Checksum::from_hex("sha256", hex).unwrap());
    Said::File(Voucher { url: Some(url.to_owned()), checksum, size, standing })
}

#[test]
fn a_json_page_vouches_for_its_files_and_their_metadata() {
    let table = table_of(Form::Json, &json_page().to_string()).unwrap();
    let wheel = "https://files.example/packages/aa/zope_left-1.0-py3-none-any.whl";
    let entry = "files.example/packages/aa/zope_left-1.0-py3-none-any.whl";
    let dated = Standing { published: Some(1_735_689_600), withdrawn: false };
    assert_eq!(table.get(entry), Some(standing(wheel, Some(ONE), Some(1234), dated)));
    assert_eq!(
        table.get(&format!("{entry}.metadata")),
        Some(standing(&format!("{wheel}.metadata"), Some(TWO), None, dated))
    );
    assert_eq!(
        table.get(&format!("{entry}.asc")),
        Some(standing(&format!("{wheel}.asc"), None, None, dated))
    );
    let old = "https://index.example/old/zope.left-0.9.tar.gz?sig=1";
    let yanked = Standing { published: None, withdrawn: true };
    let name = "index.example/old/zope.left-0.9.tar.gz";
    assert_eq!(table.get(name), Some(standing(old, None, None, yanked)));
    assert_eq!(table.len(), 4);
}

#[test]
fn an_html_page_vouches_for_its_files_and_their_metadata() {
    for form in [Form::Html, Form::PlainHtml] {
        let table = table_of(form, HTML).unwrap();
        let wheel = "https://index.example/files/zope_left-1.0%2Bcpu-py3-none-any.whl";
        let entry = "index.example/files/zope_left-1.0+cpu-py3-none-any.whl";
        let yanked = Standing { published: None, withdrawn: true };
        assert_eq!(table.get(entry), Some(standing(wheel, Some(ONE), None, yanked)));
        assert_eq!(
            table.get(&format!("{entry}.metadata")),
            Some(standing(&format!("{wheel}.metadata"), Some(TWO), None, yanked))
        );
        let old = "http://files.example:8080/zope.left-0.9.zip";
        assert_eq!(table.get("http_files.example_8080/zope.left-0.9.zip"), Some(file(old, None, None)));
        assert_eq!(table.len(), 3);
    }
}

#[test]
fn what_a_page_links_to_is_vouched_for_under_the_name_that_is_asked_for() {
    let out = rendered(Form::Json, &json_page().to_string(), Form::Json).unwrap();
    let out: Json = out.parse().unwrap();
    let table = table_of(Form::Json, &json_page().to_string()).unwrap();
    for listed in out["files"].as_array().unwrap() {
        let path = listed["url"].as_str().unwrap().split('#').next().unwrap();
        let asked = ask(path.strip_prefix("/pypi").unwrap(), None);
        assert_eq!(asked.class, Class::Artifact);
        assert_eq!(asked.index.as_deref(), Some("/zope-left/"));
        assert!(table.get(&asked.entry.unwrap()).is_some(), "{path}");
    }
}

#[test]
fn a_json_page_keeps_all_but_its_links() {
    let mut expected = json_page();
    expected["files"][0]["url"] =
        json!("/pypi/files/files.example/packages/aa/zope_left-1.0-py3-none-any.whl");
    expected["files"][1]["url"] = json!("/pypi/files/index.example/old/zope.left-0.9.tar.gz#egg=x");
    expected["meta"]["api-version"] = json!("1.4");
    let tracks = format!(r#","tracks":["{}"]}}"#, page());
    let expected =
        expected.to_string().replace(r#""api-version":"1.4"}"#, &format!(r#""api-version":"1.4"{tracks}"#));
    assert_eq!(rendered(Form::Json, &json_page().to_string(), Form::Json).unwrap(), expected);
}

#[test]
fn what_follows_another_page_goes_on_following_it() {
    for tracks in [json!(["https://first.example/simple/zope-left/"]), json!([]), json!(null)] {
        let mut document = json_page();
        document["meta"]["tracks"] = tracks.clone();
        let out: Json = rendered(Form::Json, &document.to_string(), Form::Json).unwrap().parse().unwrap();
        let expected = if tracks[0].is_string() { tracks } else { json!([page().to_string()]) };
        assert_eq!(out["meta"]["tracks"], expected);
    }
}

#[test]
fn html_is_written_from_json() {
    let out = rendered(Form::Json, &json_page().to_string(), Form::PlainHtml).unwrap();
    let expected = format!(
        r#"<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.4">
<meta name="pypi:project-status" content="archived">
<meta name="pypi:project-status-reason" content="see &#39;there&#39;">
<meta name="pypi:tracks" content="https://index.example/simple/zope-left/">
<meta name="pypi:alternate-locations" content="https://other.example/simple/zope-left/">
<title>Links for zope-left</title>
</head>
<body>
<h1>Links for zope-left</h1>
<a href="/pypi/files/files.example/packages/aa/zope_left-1.0-py3-none-any.whl#sha256={ONE}" data-requires-python="&gt;=3.8,&lt;4" data-core-metadata="sha256={TWO}" data-dist-info-metadata="sha256={TWO}" data-gpg-sig="true" data-provenance="https://index.example/integrity/zope-left/1.0/x/provenance">zope_left-1.0-py3-none-any.whl</a><br>
<a href="/pypi/files/index.example/old/zope.left-0.9.tar.gz#md5=cd" data-yanked="broken on &lt;b&gt;&quot;Windows&quot;&lt;/b&gt; &amp; Mac">zope.left-0.9.tar.gz</a><br>
</body>
</html>
"#
    );
    assert_eq!(out, expected);
}

#[test]
fn json_is_written_from_html() {
    let out: Json = rendered(Form::PlainHtml, HTML, Form::Json).unwrap().parse().unwrap();
    let expected = json!({
        "meta": {"api-version": "1.0", "tracks": [page().to_string()]},
        "name": "zope-left",
        "project-status": {"status": "deprecated"},
        "files": [
            {
                "filename": "zope_left-1.0+cpu-py3-none-any.whl",
                "url": "/pypi/files/index.example/files/zope_left-1.0%2Bcpu-py3-none-any.whl",
                "hashes": {"sha256": ONE}, "requires-python": ">=3.8", "yanked": true,
                "core-metadata": {"sha256": TWO}, "dist-info-metadata": true, "gpg-sig": false,
            },
            {
                "filename": "zope.left-0.9.zip", "url": "/pypi/files/http_files.example_8080/zope.left-0.9.zip",
                "hashes": {"md5": "cd"},
            },
        ],
    });
    assert_eq!(out, expected);
}

#[test]
fn html_is_written_from_html() {
    let out = rendered(Form::PlainHtml, HTML, Form::Html).unwrap();
    let file = format!(
        "<a href=\"/pypi/files/index.example/files/zope_left-1.0%2Bcpu-py3-none-any.whl#sha256={ONE}\" \
         data-requires-python=\"&gt;=3.8\" data-yanked=\"\" data-core-metadata=\"sha256={TWO}\" \
         data-dist-info-metadata=\"true\" data-gpg-sig=\"false\">zope_left-1.0+cpu-py3-none-any.whl</a><br>\n"
    );
    assert!(out.contains(&file) && !out.contains("about") && !out.contains("9.9"), "{out}");
}

#[test]
fn a_quarantined_project_has_no_files_in_any_form() {
    let mut document = json_page();
    document["project-status"]["status"] = json!("quarantined");
    let html = HTML.replace("deprecated", "quarantined");
    for (sent, text) in [(Form::Json, document.to_string()), (Form::Html, html)] {
        let json: Json = rendered(sent, &text, Form::Json).unwrap().parse().unwrap();
        assert_eq!(json["files"], json!([]));
        assert_eq!(json["project-status"]["status"], "quarantined");
        let html = rendered(sent, &text, Form::Html).unwrap();
        assert!(html.contains("quarantined") && !html.contains("<a "));
        assert_eq!(table_of(sent, &text).unwrap().len(), 0);
    }
    // Also where the status comes first.
    let text = r#"{"project-status":{"status":"quarantined"},"meta":{"api-version":"1.4"},"files":[ {"filename":"zope_left-1.zip","url":"zope_left-1.zip"} ],"x":1}"#;
    let out = rendered(Form::Json, text, Form::Json).unwrap();
    assert!(out.ends_with(r#","files":[ ],"x":1}"#), "{out}");
}

#[test]
fn a_file_that_would_not_be_found_here_stays_where_it_is() {
    let names = ["other-1.0.tar.gz", "readme.txt", "a%2Fzope_left-1.0.zip", "zope-left-latest.zip"];
    for name in names {
        let text =
            format!(r#"{{"meta":{{"api-version":"1.0"}},"files":[{{"filename":"x","url":"{name}"}}]}}"#);
        let out: Json = rendered(Form::Json, &text, Form::Json).unwrap().parse().unwrap();
        assert_eq!(out["files"][0]["url"], format!("https://index.example/simple/zope-left/{name}"));
        assert_eq!(table_of(Form::Json, &text).unwrap().len(), 0);
    }
}

#[test]
fn one_file_with_two_checksums_is_a_contradiction() {
    let mut document = json_page();
    let mut again = document["files"][0].clone();
    again["hashes"]["sha256"] = json!(TWO);
    document["files"].as_array_mut().unwrap().push(again);
    let table = table_of(Form::Json, &document.to_string()).unwrap();
    let entry = "files.example/packages/aa/zope_left-1.0-py3-none-any.whl";
    assert_eq!(table.get(entry), Some(Said::Contradiction));
}

#[test]
fn json_that_is_not_a_page_is_refused_with_a_reason() {
    let cases = [
        ("", json!([]), "``"),
        ("", json!({"message": "not found"}), "does not say the version"),
        ("", json!({"meta": {"api-version": "1.0"}}), "no list of files"),
        ("/meta", json!([]), "`meta`"),
        ("/meta/api-version", json!("2.0"), "version `2.0`"),
        ("/meta/api-version", json!(1.0), "`meta.api-version`"),
        ("/name", json!("other"), "not that of `zope-left`"),
        ("/files", json!({"x": 1}), "`files`"),
        ("/files/0", json!("x"), "`files.[]`"),
        ("/files/0", json!({"filename": "a-1.zip"}), "without a name or a URL"),
        ("/files/0/filename", json!("../x"), "no file can have the name"),
        ("/files/0/filename", json!("a\r\nb"), "no file can have the name"),
        ("/files/0/filename", json!(null), "`files.[].filename`"),
        ("/files/0/url", json!("javascript:alert(1)"), "not an http or https URL"),
        ("/files/0/url", json!("https://me:secret@files.example/x"), "not an http or https URL"),
        ("/files/0/url", json!(["x"]), "`files.[].url`"),
        ("/files/0/size", json!(-1), "`files.[].size`"),
        ("/files/0/size", json!("1"), "`files.[].size`"),
        ("/files/0/hashes/sha256", json!(1), "`files.[].hashes.sha256`"),
        ("/files/0/yanked", json!({}), "`files.[].yanked`"),
        ("/files/0/core-metadata", json!("x"), "`files.[].core-metadata`"),
        ("/project-status", json!(4), "`project-status`"),
    ];
    for (pointer, value, reason) in cases {
        let mut document = json_page();
        *document.pointer_mut(pointer).unwrap() = value;
        let text = document.to_string();
        for wanted in [Form::Json, Form::Html] {
            let error = rendered(Form::Json, &text, wanted).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(table_of(Form::Json, &text).unwrap_err().to_string().contains(reason));
    }
    let wrong_hash = json_page().to_string().replace(ONE, "11");
    assert!(table_of(Form::Json, &wrong_hash).unwrap_err().to_string().contains("sha256"));
}

#[test]
fn html_without_a_file_is_a_page_where_it_says_so() {
    let body = "<body><form action='/login'><a href='/help'>Help</a> <a href='../'>up</a></form></body>";
    let login = format!("<!DOCTYPE html><html><head><title>Log in</title></head>{body}</html>");
    for form in [Form::Html, Form::PlainHtml] {
        let refused = table_of(form, &login).unwrap_err().to_string();
        assert!(refused.contains("names no file"), "{refused}");
        let meta = "<meta name='pypi:repository-version' content='1.0'></head>";
        assert!(table_of(form, &login.replace("</head>", meta)).is_ok());
    }
}

#[test]
fn html_that_is_not_a_page_is_refused_with_a_reason() {
    let cases = [
        ("", "not HTML"),
        ("{}", "not HTML"),
        ("<a href='mailto:a@b'>", "not an http or https URL"),
        ("<a href='https://me:secret@a.example/a-1.zip'>", "not an http or https URL"),
        ("<a href='a-1.zip' href='b-1.zip'>", "`href` twice"),
        ("<a href='a-1.zip'><base href='https://evil.example/'>", "behind a link"),
        ("<base href='data:x'>", "not an http or https URL"),
        ("<a href='a%0d%0ab-1.zip'>", "not the name of a file"),
        ("<a href='a&#10;b-1.zip'>", "not an http or https URL"),
        ("<meta name='pypi:repository-version' content='2.0'>", "version `2.0`"),
    ];
    for (text, reason) in cases {
        let error = rendered(Form::Html, text, Form::Json).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn nothing_in_a_page_is_markup_in_another() {
    let evil = "\"'><script>alert(1)</script><!--\n&amp;\u{0}";
    let mut document = json_page();
    let file = &mut document["files"][0];
    file["requires-python"] = json!(evil);
    file["yanked"] = json!(evil);
    file["provenance"] = json!(evil);
    file["filename"] = json!("\"'><script>alert(1)<script>-1.0.zip");
    file["url"] = json!("/\"'><script>/zope_left-1.0.zip#\"'><script>");
    file["hashes"] = json!({"\"><script>": "\"><script>", "sha256": "\"><script>"});
    file["core-metadata"] = json!({"sha256": "\"><script>"});
    document["project-status"] = json!({"status": evil, "reason": evil});
    document["alternate-locations"] = json!([evil]);
    let out = rendered(Form::Json, &document.to_string(), Form::Html).unwrap();
    assert!(!out.contains("<script") && !out.contains('\0'), "{out}");
    let mut input = out.as_bytes();
    let mut markup = markup::Markup::new(&mut input);
    let mut names = Vec::new();
    while let Some(tag) = markup.next().unwrap() {
        names.push(tag.name.clone());
        if tag.get("data-yanked").is_some_and(|why| why.contains("script")) {
            assert_eq!(tag.get("data-yanked").unwrap(), evil.replace('\0', "\u{fffd}"));
        }
    }
    let expected = [
        "html", "head", "meta", "meta", "meta", "meta", "meta", "meta", "title", "body", "h1", "a", "br",
        "a", "br",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_query_asks_for_something_else() {
    for path in ["/", "/six/", "/files/files.example/six-1.16.0.tar.gz"] {
        assert_eq!(ask(path, Some("x=1")), Asked::default());
        assert_eq!(ask(path, Some("")), ask(path, None));
    }
}

#[test]
fn the_form_is_the_one_that_is_wanted_most() {
    let cases = [
        ("", Some(Form::PlainHtml)),
        ("*/*", Some(Form::PlainHtml)),
        ("text/html, */*;q=0.8", Some(Form::PlainHtml)),
        (
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            Some(Form::Json),
        ),
        ("application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1", Some(Form::Html)),
        ("application/vnd.pypi.simple.latest+json", Some(Form::Json)),
        ("application/vnd.pypi.simple.v1+json;q=0.5, */*;q=0.5", Some(Form::Json)),
        ("application/*", Some(Form::Json)),
        ("application/vnd.pypi.simple.v1+json;q=0, text/*", Some(Form::PlainHtml)),
        ("application/vnd.pypi.simple.v2+json", None),
        ("image/png", None),
    ];
    for (accept, form) in cases {
        assert_eq!(wanted(accept), form, "{accept}");
    }
}

#[test]
fn the_form_that_was_sent_is_known_by_its_type() {
    assert_eq!(sent("application/vnd.pypi.simple.v1+json"), Some(Form::Json));
    assert_eq!(sent("Application/Vnd.pypi.simple.v1+HTML; charset=utf-8"), Some(Form::Html));
    assert_eq!(sent("text/html;charset=UTF-8"), Some(Form::PlainHtml));
    for other in ["", "application/vnd.pypi.simple.v2+json", "text/plain", "application/octet-stream"] {
        assert_eq!(sent(other), None, "{other}");
    }
}

fn listed() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        any::<String>().prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        Just(json!(null))
    ];
    let url = prop_oneof![
        Just("zope_left-1.0.zip#md5=ab".to_owned()),
        Just("https://files.example/zope_left-1.0-py3-none-any.whl?x".to_owned()),
        "[a-z0-9/.%-]{0,12}",
        any::<String>(),
    ];
    let extra = prop::collection::btree_map("[a-z-]{1,6}", text.clone(), 0..3);
    (url, "[^/\\\\\\pC]{1,9}", text.clone(), text, extra).prop_map(|(url, name, yanked, metadata, extra)| {
        let mut file = json!({"url": url, "filename": name, "yanked": yanked, "core-metadata": metadata});
        let extra = extra.into_iter().filter(|(key, _)| !key.ends_with('y'));
        file.as_object_mut().unwrap().extend(extra.map(|(key, value)| (format!("x-{key}"), value)));
        file
    })
}

proptest! {
    #[test]
    fn nothing_but_links_changes(files in prop::collection::vec(listed(), 0..4)) {
        let mut document = json_page();
        document["meta"]["api-version"] = json!("1.1");
        document["files"] = Json::from(files);
        if let Ok(out) = rendered(Form::Json, &document.to_string(), Form::Json) {
            let mut out: Json = out.parse().unwrap();
            for (new, old) in out["files"].as_array_mut().unwrap().iter_mut().zip(document["files"].as_array().unwrap()) {
                let url = new["url"].as_str().unwrap();
                prop_assert!(url.starts_with("/pypi/files/") || url.starts_with("http"), "{}", url);
                new["url"] = old["url"].clone();
            }
            prop_assert_eq!(out["meta"].as_object_mut().unwrap().remove("tracks"), Some(json!([page().to_string()])));
            prop_assert_eq!(out, document);
        }
    }

    #[test]
    fn what_is_written_as_html_reads_as_what_was_said(files in prop::collection::vec(listed(), 0..4)) {
        let mut document = json_page();
        document["files"] = Json::from(files);
        if let Ok(out) = rendered(Form::Json, &document.to_string(), Form::Html) {
            let mut input = out.as_bytes();
            let mut markup = markup::Markup::new(&mut input);
            let mut links = 0;
            while let Some(tag) = markup.next().unwrap() {
                if tag.name == "a" {
                    let old = &document["files"][links]["yanked"];
                    let expected = old.as_str().or((*old == json!(true)).then_some(""));
                    let clean = |text: &str| text.replace(|c: char| c.is_control() && !"\t\n\r".contains(c), "\u{fffd}");
                    prop_assert_eq!(tag.get("data-yanked").map(str::to_owned), expected.map(clean));
                    links += 1;
                }
            }
            prop_assert_eq!(links, document["files"].as_array().unwrap().len());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let damaged = |text: String| {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        };
        for text in [bytes, damaged(json_page().to_string()), damaged(HTML.to_owned())] {
            for form in [Form::Json, Form::Html] {
                let _ = vouch(&page(), form, &mut text.as_slice(), &mut TableBuilder::default());
                for wanted in [Form::Json, Form::PlainHtml] {
                    let (base, hidden) = (base(), Hidden::default());
                    let _ = render(&page(), form, &mut text.as_slice(), &base, wanted, &hidden, &mut std::io::sink());
                }
            }
        }
    }

    #[test]
    fn only_what_names_one_version_is_called_unchangeable(
        path in "/(files/)?([a-z.0-9_]{1,4}/){0,3}(six|latest|index)?[-_.]?(v?[0-9a-z.]{0,4})(\\.whl|\\.zip|\\.json|/)?(\\.metadata|\\.asc)?",
        query in prop::option::of("[a-z=]{0,3}"),
    ) {
        let asked = ask(&path, query.as_deref());
        if !matches!(asked.class, Class::Index | Class::Api | Class::Unknown) {
            prop_assert!(path.starts_with("/files/") && query.is_none_or(|query| query.is_empty()));
            prop_assert!(asked.package.version.unwrap().contains(|c: char| c.is_ascii_digit()));
            prop_assert!(asked.index.is_some() && asked.entry.is_some());
        }
    }

    #[test]
    fn no_path_makes_it_panic(path in "/(files/|\\PC){0,3}[a-z0-9%/._-]{0,20}", query: Option<String>) {
        let _ = ask(&path, query.as_deref());
    }
}
