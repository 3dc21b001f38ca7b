//! What the answers of a survey tell about the two registry values of a Windows host. The table is that of
//! `docs/error-0x904.md`.

use crate::wire::negotiation::Protocols;

/// The settings behind the layer that was negotiated, where the answers leave no doubt; true of a host that is Windows.
pub(crate) fn settings(
    layer: Option<Protocols>,
    takes_standard: Option<bool>,
    nla_required: Option<bool>,
) -> Option<&'static str> {
    match (layer?, takes_standard?, nla_required) {
        (Protocols::HYBRID | Protocols::HYBRID_EX, false, Some(true)) => {
            Some("`UserAuthentication` 1; `SecurityLayer` 1 or 2 cannot be told apart")
        }
        (Protocols::HYBRID | Protocols::HYBRID_EX, false, Some(false)) => {
            Some("`UserAuthentication` 0, `SecurityLayer` 2")
        }
        (Protocols::HYBRID | Protocols::HYBRID_EX, true, _) => Some("`UserAuthentication` 0, `SecurityLayer` 1"),
        (Protocols::RDP, true, _) => {
            Some("`SecurityLayer` 0, or no Windows of today; `UserAuthentication` cannot be seen")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of the page, as layers, whether Standard RDP Security is accepted, and whether NLA is required.
    #[test]
    fn settings_are_those_of_the_0x904_page() {
        let page = include_str!("../../docs/error-0x904.md");
        let table = page.split_once("| negotiated |").unwrap().1.split("\n\n").next().unwrap();
        let mut rows = 0;
        for row in table.lines().skip(2) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let (standard, setting) = (cells[2], cells[3]);
            for layer in Protocols::NAMED.into_iter().filter(|layer| cells[1].contains(&format!("`{layer}`"))) {
                let accepted = [(true, "accepted"), (false, "refused")].map(|(is, word)| (is, standard.contains(word)));
                for (accepts, _) in accepted.into_iter().filter(|(_, is_meant)| *is_meant) {
                    let nla = if standard.contains("NLA not") { Some(false) } else { Some(!accepts) };
                    assert_eq!(settings(Some(layer), Some(accepts), nla), Some(setting), "{row}");
                    rows += 1;
                }
            }
        }
        assert_eq!(rows, 7);
        for layer in [Protocols::SSL, Protocols::RDSTLS] {
            assert_eq!(settings(Some(layer), Some(true), Some(false)), None);
        }
        assert_eq!(settings(None, Some(true), Some(false)), None);
        assert_eq!(settings(Some(Protocols::HYBRID), None, Some(true)), None, "not asked");
    }
}
