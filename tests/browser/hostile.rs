//! Names that would be scripts, and a page of somebody else that presses our button.

use crate::{
    estate::{Estate, expired, member},
    journey::check_quiet,
    webdriver::Browser,
};

const NAMES: [&str; 4] = [
    "<script>window.hacked=1</script>",
    "\"><img src=x onerror=\"window.hacked=1\">",
    "'\"></title></svg><svg onload=window.hacked=1>",
    "</option></select><body onload=window.hacked=1>\u{202e}cba",
];

#[test]
fn a_strangers_name_is_text_and_runs_nothing() {
    let Some(browser) = Browser::start() else { return };
    let members = NAMES.iter().map(|name| member(name, name, expired(name))).collect();
    let estate = Estate::start(members, 3);
    let was_probed = || browser.text().matches("certificate_expired").count() >= NAMES.len();
    browser.wait_for("the first probes", || {
        browser.open(&estate.url);
        was_probed().then_some(())
    });
    check_harmless(&browser, "the list");
    for name in NAMES {
        browser.open(&format!("{}{}", estate.url, rdp_exporter::page::target_path(name)));
        check_harmless(&browser, name);
        let (shown, text) = (name.replace('\u{202e}', "\\u{202e}"), browser.text());
        assert!(text.matches(&shown).count() >= 2, "name and label: {shown} in {text}");
        let subject = format!("CN={}", rfc_4514(&shown));
        assert_eq!(text.matches(&subject).count(), 2, "subject and issuer: {subject} in {text}");
        let mut search = form_urlencoded::Serializer::new(format!("{}/?", estate.url));
        let url = search.append_pair("q", name).append_pair("label.site", name).finish();
        browser.open(&url);
        check_harmless(&browser, &url);
        assert_eq!(browser.find_all("td.c-target").len(), 1, "{url}");
        let typed = browser.run("return document.querySelector('#q').value");
        assert_eq!(typed.as_str().unwrap(), shown);
    }
    browser.open(&format!("{}/changes", estate.url));
    check_harmless(&browser, "changes");
    check_quiet(&browser, &estate);
}

/// A value as a distinguished name has it (RFC 4514, 2.4).
fn rfc_4514(value: &str) -> String {
    let escaped = value.chars().map(|character| match character {
        '"' | '+' | ',' | ';' | '<' | '>' => format!("\\{character}"),
        character => character.to_string(),
    });
    escaped.collect()
}

fn check_harmless(browser: &Browser, of: &str) {
    assert!(!browser.has_dialog(), "{of}");
    assert!(browser.run("return window.hacked === undefined").as_bool().unwrap(), "{of}: a script ran");
    let strange = "return document.querySelectorAll('script, img, iframe, [onerror], [onload], [style]').length";
    assert_eq!(browser.run(strange), 0, "{of}");
    assert_eq!(browser.run("return document.querySelectorAll('main').length"), 1, "{of}");
}

/// Also where the browser does not trust the exporter's address enough to say `Sec-Fetch-Site`.
#[test]
fn a_page_of_somebody_else_cannot_press_the_button() {
    let Some(browser) = Browser::start() else { return };
    let endpoint = crate::estate::mended();
    let estate = Estate::start(vec![member("one", "berlin", endpoint)], 0);
    let verdict = || {
        browser.open(&format!("{}/targets/one", estate.url));
        browser.find("main").text()
    };
    browser.wait_for("the first probe", || verdict().contains("negotiation_refused").then_some(()));
    for origin in [estate.url.clone(), format!("http://127.0.0.1:{}", estate.port)] {
        browser.open(&format!(
            "data:text/html,<form method=post action=\"{origin}/targets/one/probe\"><button>win a prize</button></form>"
        ));
        browser.find("button").click();
        browser.wait_for("the refusal", || browser.shown("body").filter(|text| text.contains("Another site asked")));
    }
    assert!(verdict().contains("negotiation_refused"), "nothing was probed");
}
