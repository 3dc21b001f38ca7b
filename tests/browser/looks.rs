//! How the pages look, light, dark and on a phone: pictures in `target/screenshots`, and what can be told without eyes.

use serde_json::json;

use crate::{
    estate::{Estate, expired, healthy, member, mended},
    webdriver::Browser,
};

#[test]
fn pages_fit_into_light_dark_and_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let estate = Estate::start(
        vec![
            member("good01.corp.example", "berlin", healthy()),
            member("mended01.corp.example", "oslo", mended()),
            member("[2001:db8::1]:3389", "lyon", expired("a-rather-long-name-without-any-place-to-break.corp.example")),
            member("a name with spaces, and a very long one at that, as some people have them", "oslo", expired("x")),
        ],
        120,
    );
    let pages = [
        ("overview", "/"),
        ("nothing", "/?q=nothing"),
        ("changes", "/changes"),
        ("down", "/targets/mended01.corp.example"),
        ("expired", "/targets/%5B2001%3Adb8%3A%3A1%5D%3A3389"),
        ("healthy", "/targets/good01.corp.example"),
    ];
    browser.wait_for("the last probe", || {
        browser.open(&format!("{}/?q=ts0119", estate.url));
        browser.text().contains("connect_refused").then_some(())
    });
    for (scheme, width, height) in
        [("light", 1280, 1000), ("dark", 1280, 1000), ("light", 360, 780), ("dark", 360, 780)]
    {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.command("Emulation.setEmulatedMedia", &media);
        browser.resize(width, height);
        for (name, path) in pages {
            browser.open(&format!("{}{path}", estate.url));
            browser.screenshot(&format!("{name}-{scheme}-{width}"));
            let wide = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(wide <= u64::from(width), "{name} is {wide} wide of {width}");
            check_contrast(&browser, &format!("{name} {scheme} {width}"));
        }
    }
}

/// WCAG 2.2, 1.4.3: text stands out from its ground by 4.5 to 1.
fn check_contrast(browser: &Browser, of: &str) {
    let found = browser.run(CONTRAST);
    assert!(found["looked"].as_u64().unwrap() > 10, "{of}: {found}");
    assert_eq!(found["faint"], json!([]), "{of}: text, colour and contrast");
}

const CONTRAST: &str = "
    const parse = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
    const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.a === 1) return colour;
        }
        return { r: 255, g: 255, b: 255 };
    };
    const faint = [];
    let looked = 0;
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest('svg, .unseen, .skip, option')) continue;
        looked += 1;
        const [text, behind] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
        if (contrast < 4.5) faint.push([element.textContent.trim().slice(0, 40), getComputedStyle(element).color, contrast.toFixed(2)]);
    }
    return { looked, faint: faint.slice(0, 10) };
";
