//! What an operator of a large estate does: searches, filters, pages, opens a target and presses "probe now".

use crate::{
    estate::{Estate, expired, healthy, member, mended},
    webdriver::{Browser, ENTER, TAB},
};

fn large_estate() -> Estate {
    Estate::start(
        vec![
            member("good01", "berlin", healthy()),
            member("mended01", "oslo", mended()),
            member("old01", "lyon", expired("old01")),
        ],
        4_997,
    )
}

fn rows(browser: &Browser) -> usize {
    browser.find_all("table.targets tbody tr").len()
}

/// Opens a page anew until it is as is wanted: probes take their time.
fn open_until(browser: &Browser, url: &str, what: &str, is_so: impl Fn() -> bool) {
    browser.wait_for(what, || {
        browser.open(url);
        is_so().then_some(())
    });
}

#[test]
fn five_thousand_targets_are_searched_filtered_and_probed() {
    let Some(browser) = Browser::start() else { return };
    let estate = large_estate();
    let first_are_probed = || {
        let text = browser.text();
        ["mended01", "old01"].iter().all(|name| text.contains(name))
    };
    open_until(&browser, &format!("{}/?q=d01", estate.url), "the first probes", || {
        first_are_probed() && browser.text().contains("negotiation_refused")
    });

    browser.open(&estate.url);
    assert!(browser.find("nav.counts a.all, nav.counts a").text().contains("5,000"), "{}", browser.text());
    assert_eq!(rows(&browser), 100);
    browser.find("#q").type_text("TS0042");
    browser.find(".filters button").click();
    browser.wait_for("the search", || (rows(&browser) == 1).then_some(()));
    assert!(browser.url().contains("q=TS0042"), "{}", browser.url());
    assert!(browser.find("td.c-target").text().contains("ts0042.corp.example"));

    open_until(&browser, &estate.url, "refused ones to choose", || {
        !browser.find_all("#verdict option[value=connect_refused]").is_empty()
            && refused_in_oslo(&browser, &estate) > 100
    });
    browser.open(&estate.url);
    browser.find("#verdict option[value=connect_refused]").click();
    browser.find("select[name='label.site'] option[value=oslo]").click();
    browser.find(".filters button").click();
    browser.wait_for("the filter", || browser.url().contains("verdict=connect_refused").then_some(()));
    assert!(browser.url().contains("label.site=oslo"), "{}", browser.url());
    let shown = browser.find("table.targets tbody").text();
    assert!(shown.contains("site=oslo") && !shown.contains("site=berlin"), "{shown}");

    browser.find("nav.paging a[rel=next]").click();
    browser.wait_for("the second page", || browser.url().contains("page=2").then_some(()));
    assert!(browser.url().contains("verdict=connect_refused") && browser.url().contains("label.site=oslo"));
    assert!(browser.find(".list-head").text().contains("101–"), "{}", browser.find(".list-head").text());

    probe_now(&browser, &estate);
    check_quiet(&browser, &estate);
}

fn refused_in_oslo(browser: &Browser, estate: &Estate) -> usize {
    browser.open(&format!("{}/?verdict=connect_refused&label.site=oslo", estate.url));
    let counted = browser.find("nav.counts a").text();
    let digits: String = counted.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// From the list to a target that was refused, and that is healthy once it is asked again.
fn probe_now(browser: &Browser, estate: &Estate) {
    browser.open(&format!("{}/?q=mended01", estate.url));
    browser.find("td.c-target a").click();
    browser.wait_for("the target's page", || browser.url().ends_with("/targets/mended01").then_some(()));
    assert_eq!(browser.find(".judgement .verdict").text(), "negotiation_refused");
    let text = browser.text();
    for part in ["Windows clients show", "Likely", "Next", "It does not mean", "every 1h"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    browser.find(".probe-now button").click();
    browser.wait_for("the new result", || browser.shown(".judgement .verdict").filter(|verdict| verdict == "healthy"));
    assert!(browser.url().ends_with("/targets/mended01"), "{}", browser.url());
    let changed = browser.find("ol.changes li").text();
    assert!(changed.contains("negotiation_refused") && changed.contains("healthy"), "{changed}");
    browser.open(&format!("{}/changes?kind=verdict", estate.url));
    assert!(browser.find("table.changes tbody").text().contains("mended01"));
}

/// No word in the console, and nothing asked of anybody but the exporter.
pub(crate) fn check_quiet(browser: &Browser, estate: &Estate) {
    let console = browser.console();
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests();
    // The browser's own first page comes from the browser itself.
    let is_inner = |url: &String| ["chrome:", "data:", "about:"].iter().any(|scheme| url.starts_with(scheme));
    let is_own = |url: &String| url.starts_with(&format!("{}/", estate.url));
    let foreign: Vec<_> = requests.iter().filter(|url| !is_own(url) && !is_inner(url)).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
    assert!(requests.iter().any(|url| url.contains("/style.css?v=")), "{requests:#?}");
}

#[test]
fn a_keyboard_is_enough() {
    let Some(browser) = Browser::start() else { return };
    let estate = Estate::start(vec![member("good01", "berlin", healthy())], 20);
    open_until(&browser, &estate.url, "the page", || rows(&browser) == 21);
    let focus_is = |selector: &str| {
        browser.run(&format!("return document.activeElement.matches({selector:?})")).as_bool().unwrap()
    };
    browser.press(TAB);
    assert!(focus_is("a.skip"), "the first stop leaps to the content");
    let seen = "return document.activeElement.getBoundingClientRect().left >= 0";
    assert!(browser.run(seen).as_bool().unwrap(), "and can be seen");
    let tab_to = |selector: &str| {
        let reached = (0..40).any(|_| {
            browser.press(TAB);
            focus_is(selector)
        });
        assert!(reached, "{selector} cannot be reached");
        let outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(outline.as_str().unwrap(), "none", "the focus on {selector} can be seen");
    };
    tab_to("#q");
    tab_to(".filters button");
    tab_to("td.c-target a");
    browser.press(ENTER);
    browser.wait_for("the target's page", || browser.url().contains("/targets/").then_some(()));
    tab_to(".probe-now button");
    check_quiet(&browser, &estate);
}
