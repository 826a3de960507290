//! Pages of a Python index through the whole server: what they say beside links comes to clients in
//! both forms, whichever of them the upstream has.

use larder_tests::http::{Answer, Site};
use serde_json::json;

use crate::support::Proxy;

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const PROVENANCE: &str = "https://index.example/integrity/tool/2.0/provenance";

/// The page as the upstream has it.
fn page(form: &str) -> String {
    if form == JSON {
        let file = |name: &str| json!({ "filename": name, "url": format!("/f/{name}"), "hashes": { "sha256": SHA } });
        let mut files = ["tool-1.0.tar.gz", "tool-1.5.tar.gz", "tool-2.0-py3-none-any.whl"].map(file);
        files[0]["yanked"] = "broken & <old>".into();
        files[1]["yanked"] = true.into();
        files[2]["yanked"] = false.into();
        files[2]["provenance"] = PROVENANCE.into();
        files[2]["core-metadata"] = json!({ "sha256": SHA });
        files[2]["requires-python"] = ">=3.8".into();
        return json!({
            "meta": { "api-version": "1.4" }, "name": "tool", "versions": ["1.0", "1.5", "2.0"], "files": files,
            "project-status": { "status": "archived", "reason": "see 'there'" },
        })
        .to_string();
    }
    format!(
        "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.4\">\
         <meta name=\"pypi:project-status\" content=\"archived\">\
         <meta name=\"pypi:project-status-reason\" content=\"see 'there'\"></head><body>\
         <a href=\"/f/tool-1.0.tar.gz#sha256={SHA}\" data-yanked=\"broken &amp; &lt;old&gt;\">tool-1.0.tar.gz</a>\
         <a href=\"/f/tool-1.5.tar.gz#sha256={SHA}\" data-yanked=\"\">tool-1.5.tar.gz</a>\
         <a href=\"/f/tool-2.0-py3-none-any.whl#sha256={SHA}\" data-provenance=\"{PROVENANCE}\" \
         data-core-metadata=\"sha256={SHA}\" data-requires-python=\"&gt;=3.8\">tool-2.0-py3-none-any.whl</a></body></html>"
    )
}

#[track_caller]
fn says(answer: &Answer, text: &str) {
    assert!(answer.text().contains(text), "{text}\n{}", answer.text());
}

/// The line of the page with the link to this file.
#[track_caller]
fn link<'a>(answer: &'a Answer, file: &str) -> &'a str {
    let found = answer.text().lines().find(|line| line.contains(&format!(">{file}</a>")));
    found.unwrap_or_else(|| panic!("{file}\n{}", answer.text()))
}

#[test]
fn what_a_page_says_beside_links_is_kept_in_both_forms() {
    for form in [JSON, HTML] {
        let site = Site::new();
        site.put_with("/simple/tool/", &format!("content-type: {form}"), page(form));
        let settings = format!(
            "[pkgcache.upstream]\npypi = {{ url = \"{}/simple/\", kind = \"python\" }}\n",
            site.url()
        );
        let mut proxy = Proxy::set(&settings, &[]);
        // The second round is from what is stored.
        for offline in [false, true] {
            let json = proxy.ask("GET", "/pypi/tool/", &format!("accept: {JSON}"));
            assert_eq!(json.header("content-type"), Some(JSON), "{json:?}");
            let document = json.json();
            let status = json!({ "status": "archived", "reason": "see 'there'" });
            assert_eq!(document["project-status"], status, "from {form}: {document}");
            let files = document["files"].as_array().unwrap();
            let of = |key: &str| files.iter().map(|file| file[key].clone()).collect::<Vec<_>>();
            let yanked = of("yanked");
            let none = |it: &serde_json::Value| it.is_null() || *it == false;
            assert!(
                yanked[0] == "broken & <old>" && (yanked[1] == true || yanked[1] == "") && none(&yanked[2]),
                "{yanked:?}"
            );
            assert_eq!(of("provenance"), [json!(null), json!(null), json!(PROVENANCE)]);
            assert_eq!(of("core-metadata")[2], json!({ "sha256": SHA }));
            assert_eq!(of("requires-python")[2], ">=3.8");
            let url = files[2]["url"].as_str().unwrap();
            assert!(url.contains("/pypi/files/"), "{url} leads past the mount");

            let html = proxy.ask("GET", "/pypi/tool/", &format!("accept: {HTML}"));
            assert_eq!(html.header("content-type"), Some(HTML), "{html:?}");
            says(&html, "<meta name=\"pypi:project-status\" content=\"archived\">");
            says(&html, "<meta name=\"pypi:project-status-reason\" content=\"see &#39;there&#39;\">");
            assert!(
                link(&html, "tool-1.0.tar.gz").contains(" data-yanked=\"broken &amp; &lt;old&gt;\""),
                "{html:?}"
            );
            assert!(link(&html, "tool-1.5.tar.gz").contains(" data-yanked=\"\""), "{html:?}");
            let last = link(&html, "tool-2.0-py3-none-any.whl");
            assert!(last.contains(&format!(" data-provenance=\"{PROVENANCE}\"")), "{last}");
            assert!(last.contains(&format!(" data-core-metadata=\"sha256={SHA}\"")), "{last}");
            assert!(!last.contains("data-yanked") && last.contains("href=\"/pypi/files/"), "{last}");
            if !offline {
                proxy.kept(1);
                proxy = proxy.after_its_end(&["--offline"]);
            }
        }
        assert_eq!(site.requests(), 1, "{:?}", site.log());
    }
}
