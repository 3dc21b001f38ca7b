//! Queries, parsed.

use std::{collections::BTreeMap, time::Duration};

pub(crate) use promql_parser::parser::Expr;
use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        AggregateExpr, BinaryExpr, Call, LabelModifier, VectorMatchCardinality, VectorSelector,
        token::{T_BOTTOMK, T_LAND, T_LOR, T_LUNLESS, T_TOPK},
    },
    util::{ExprVisitor, walk_expr},
};

use crate::contract;

/// What Grafana puts in the place of `$__rate_interval` here; no query writes it by itself.
pub(crate) const RATE_INTERVAL: Duration = Duration::from_secs(1234);

/// Puts values in the place of Grafana's variables, the longest name first.
pub(crate) fn fill(query: &str, variables: &BTreeMap<String, String>) -> String {
    let mut by_length: Vec<_> = variables.iter().collect();
    by_length.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let rate = format!("{}s", RATE_INTERVAL.as_secs());
    let query = query.replace("$__rate_interval", &rate).replace("$__range", "24h").replace("$__interval", "2m");
    by_length.into_iter().fold(query, |query, (name, value)| query.replace(&format!("${name}"), value))
}

pub(crate) fn parse(query: &str) -> Expr {
    assert!(!query.contains('$'), "a variable is left in {query}");
    promql_parser::parser::parse(query).unwrap_or_else(|error| panic!("{query}\n{error}"))
}

/// Every node of a query.
pub(crate) fn walk(expr: &Expr, visit: impl FnMut(&Expr)) {
    struct Each<F>(F);
    impl<F: FnMut(&Expr)> ExprVisitor for Each<F> {
        type Error = std::convert::Infallible;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
            (self.0)(expr);
            Ok(true)
        }
    }
    let Ok(_) = walk_expr(&mut Each(visit), expr);
}

/// Every selector of a query.
pub(crate) fn selectors(expr: &Expr) -> Vec<VectorSelector> {
    let mut found = Vec::new();
    walk(expr, |node| match node {
        Expr::VectorSelector(selector) => found.push(selector.clone()),
        Expr::MatrixSelector(matrix) => found.push(matrix.vs.clone()),
        _ => {}
    });
    found
}

/// The names that a selector can select: its own, or those of a matcher on `__name__`.
pub(crate) fn metrics(selector: &VectorSelector) -> Vec<String> {
    let by_matcher = selector.matchers.matchers.iter().filter(|matcher| matcher.name == "__name__");
    selector.name.iter().cloned().chain(by_matcher.flat_map(alternatives)).collect()
}

/// The values that a matcher names, where it names any: `a|b` and `a`, but nothing for `.+`.
pub(crate) fn alternatives(matcher: &Matcher) -> Vec<String> {
    match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual if matcher.value.is_empty() => Vec::new(),
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.clone()],
        MatchOp::Re(_) | MatchOp::NotRe(_) if matcher.value.starts_with('.') => Vec::new(),
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').map(str::to_owned).collect(),
    }
}

/// Every label that the query groups, matches or joins by.
pub(crate) fn grouping(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    walk(expr, |node| match node {
        Expr::Aggregate(AggregateExpr { modifier: Some(modifier), .. }) => {
            found.extend(modifier.labels().labels.iter().cloned());
        }
        Expr::Binary(BinaryExpr { modifier: Some(modifier), .. }) => {
            let matching = modifier.matching.iter().flat_map(|matching| matching.labels().labels.clone());
            let joined = modifier.card.labels().map(|labels| labels.labels.clone()).unwrap_or_default();
            found.extend(matching.chain(joined));
        }
        _ => {}
    });
    found
}

/// Every number in the query that says more than 0 or 1, which negate and count.
pub(crate) fn numbers(expr: &Expr) -> Vec<f64> {
    let mut found = Vec::new();
    walk(expr, |node| {
        if let Expr::NumberLiteral(number) = node
            && number.val != 0.0
            && number.val != 1.0
        {
            found.push(number.val.abs());
        }
    });
    found.sort_by(f64::total_cmp);
    found.dedup();
    found
}

/// The labels of a query's result. Fails for a metric that does not exist.
pub(crate) fn labels(expr: &Expr) -> Vec<String> {
    match expr {
        Expr::VectorSelector(selector) => labels_of_selector(selector),
        Expr::MatrixSelector(matrix) => labels_of_selector(&matrix.vs),
        Expr::Paren(paren) => labels(&paren.expr),
        Expr::Unary(unary) => labels(&unary.expr),
        Expr::Subquery(subquery) => labels(&subquery.expr),
        Expr::Aggregate(aggregate) => labels_of_aggregate(aggregate),
        Expr::Binary(binary) => labels_of_binary(binary),
        Expr::Call(call) => labels_of_call(call),
        _ => Vec::new(),
    }
}

/// Whether the result still carries the metric's name.
pub(crate) fn keeps_name(expr: &Expr) -> bool {
    match expr {
        Expr::VectorSelector(_) => true,
        Expr::Paren(paren) => keeps_name(&paren.expr),
        Expr::Aggregate(aggregate) => [T_TOPK, T_BOTTOMK].contains(&aggregate.op.id()) && keeps_name(&aggregate.expr),
        Expr::Binary(binary) if binary.op.id() == T_LOR => keeps_name(&binary.lhs) || keeps_name(&binary.rhs),
        Expr::Binary(binary) if [T_LAND, T_LUNLESS].contains(&binary.op.id()) => keeps_name(&binary.lhs),
        Expr::Binary(binary) => {
            let is_filter = binary.op.is_comparison_operator() && !binary.return_bool();
            is_filter && keeps_name(&binary.lhs)
        }
        _ => false,
    }
}

/// Whether the query filters: an alert on anything else fires for whatever exists.
pub(crate) fn filters(expr: &Expr) -> bool {
    let mut found = false;
    walk(expr, |node| {
        found |= match node {
            Expr::Binary(binary) => binary.op.is_comparison_operator() && !binary.return_bool(),
            Expr::Call(call) => call.func.name == "absent",
            _ => false,
        };
    });
    found
}

fn labels_of_selector(selector: &VectorSelector) -> Vec<String> {
    let name = selector.name.as_deref().unwrap_or_else(|| panic!("a selector without a name: {selector}"));
    contract::labels(name).unwrap_or_else(|error| panic!("{error}")).into_iter().collect()
}

fn labels_of_aggregate(aggregate: &AggregateExpr) -> Vec<String> {
    let inner = labels(&aggregate.expr);
    if [T_TOPK, T_BOTTOMK].contains(&aggregate.op.id()) {
        return inner;
    }
    match &aggregate.modifier {
        Some(LabelModifier::Include(by)) => inner.into_iter().filter(|label| by.labels.contains(label)).collect(),
        Some(LabelModifier::Exclude(without)) => {
            inner.into_iter().filter(|label| !without.labels.contains(label)).collect()
        }
        None => Vec::new(),
    }
}

fn labels_of_binary(binary: &BinaryExpr) -> Vec<String> {
    let (left, right) = (labels(&binary.lhs), labels(&binary.rhs));
    if is_scalar(&binary.lhs) {
        return right;
    }
    if is_scalar(&binary.rhs) || [T_LAND, T_LUNLESS].contains(&binary.op.id()) {
        return left;
    }
    if binary.op.id() == T_LOR {
        return left.into_iter().filter(|label| right.contains(label)).collect();
    }
    let Some(modifier) = &binary.modifier else { return left };
    match (&modifier.card, &modifier.matching) {
        (VectorMatchCardinality::ManyToOne(joined), _) => left.into_iter().chain(joined.labels.clone()).collect(),
        (VectorMatchCardinality::OneToMany(joined), _) => right.into_iter().chain(joined.labels.clone()).collect(),
        (_, Some(LabelModifier::Include(on))) => on.labels.clone(),
        (_, Some(LabelModifier::Exclude(ignored))) => {
            left.into_iter().filter(|label| !ignored.labels.contains(label)).collect()
        }
        (_, None) => left,
    }
}

fn labels_of_call(call: &Call) -> Vec<String> {
    let Some(vector) = call.args.args.iter().find(|argument| !is_scalar(argument)) else { return Vec::new() };
    let inner = labels(vector);
    match call.func.name {
        "absent" => selectors(vector).iter().flat_map(|selector| selector.matchers.matchers.clone()).fold(
            Vec::new(),
            |mut equal, matcher| {
                equal.extend((matcher.op == MatchOp::Equal).then_some(matcher.name));
                equal
            },
        ),
        "histogram_quantile" => inner.into_iter().filter(|label| label != "le").collect(),
        _ => inner,
    }
}

fn is_scalar(expr: &Expr) -> bool {
    match expr {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => true,
        Expr::Paren(paren) => is_scalar(&paren.expr),
        Expr::Unary(unary) => is_scalar(&unary.expr),
        Expr::Binary(binary) => is_scalar(&binary.lhs) && is_scalar(&binary.rhs),
        Expr::Call(call) => ["time", "scalar"].contains(&call.func.name),
        _ => false,
    }
}
