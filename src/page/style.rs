//! What the pages refer to: one stylesheet and one icon, from the binary.

/// The stylesheet.
pub const STYLE: &str = include_str!("style.css");
/// Where it is.
pub const STYLE_PATH: &str = "/style.css";
/// The icon of the browser's tab.
pub const ICON: &str = include_str!("icon.svg");
/// Where it is.
pub const ICON_PATH: &str = "/icon.svg";

/// Another for every change of what the pages refer to, so that browsers may keep it for good.
#[must_use]
pub fn asset_version() -> String {
    const VERSION: u64 = fnv_1a(ICON.as_bytes(), fnv_1a(STYLE.as_bytes(), 0xcbf2_9ce4_8422_2325));
    format!("{VERSION:016x}")
}

/// FNV-1a over `bytes`, going on from `hash`. Not against forgery: both files are ours.
const fn fnv_1a(bytes: &[u8], mut hash: u64) -> u64 {
    let mut place = 0;
    while place < bytes.len() {
        hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        place += 1;
    }
    hash
}
