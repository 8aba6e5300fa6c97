//! The picture as SVG 1.1: the node with its bridges on the left, the pods on the right, a line for each pair.

use std::fmt::Write as _;

use inventory::Verdict;

use super::picture::{Picture, Pod};
use super::printable;

/// In pixels: what a character is wide in 12 px monospace, and the distances.
const CHARACTER: f64 = 7.3;
const LINE: f64 = 17.0;
const MARGIN: f64 = 20.0;
const PADDING: f64 = 10.0;
const GAP: f64 = 12.0;
/// Longer lines of a pod are broken: evidence is long.
const LONGEST: usize = 70;

/// A box on the left, and the pods beside it.
struct Group<'a> {
    lines: Vec<String>,
    fill: &'static str,
    pods: &'a [Pod],
}

/// Draws it.
pub(crate) fn draw(picture: &Picture) -> String {
    let groups = groups(picture);
    let link_names = groups.iter().flat_map(|group| group.pods).filter_map(|pod| pod.link.as_deref());
    let names = link_names.map(|name| name.chars().count()).max().unwrap_or(0);
    let title = if picture.node.is_empty() { "node".to_owned() } else { format!("node {}", picture.node) };
    let left = width(groups.iter().flat_map(|group| &group.lines)).max(width([&title]));
    let pods: Vec<Vec<Vec<String>>> = groups.iter().map(|group| group.pods.iter().map(lines).collect()).collect();
    let right = width(pods.iter().flatten().flatten());
    let node_right = MARGIN + 2.0 * PADDING + left;
    let pod_x = node_right + 2.0 * GAP + CHARACTER * characters(names);
    let mut drawing = String::new();
    let mut y = MARGIN + PADDING + 2.0 * LINE;
    for (group, pods) in groups.iter().zip(&pods) {
        let beside: f64 = pods.iter().map(|lines| height(lines.len()) + GAP).sum::<f64>() - GAP;
        let tall = height(group.lines.len()).max(beside);
        boxed(&mut drawing, (MARGIN + PADDING, y), (left, tall), group.fill, &group.lines);
        let mut pod_y = y;
        for (pod, lines) in group.pods.iter().zip(pods) {
            if let Some(name) = &pod.link {
                connect(&mut drawing, MARGIN + PADDING + left, pod_x, pod_y + height(1) / 2.0, (node_right, name));
            }
            boxed(&mut drawing, (pod_x, pod_y), (right, height(lines.len())), colour(pod), lines);
            pod_y += height(lines.len()) + GAP;
        }
        y += tall + GAP;
    }
    let has_pods = pods.iter().any(|pods| !pods.is_empty());
    let whole = (if has_pods { pod_x + right } else { node_right } + MARGIN, y + MARGIN);
    let mut node = String::new();
    boxed(&mut node, (MARGIN, MARGIN), (left + 2.0 * PADDING, y - MARGIN), "#eef1f5", std::slice::from_ref(&title));
    let (width, height) = whole;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" font-size=\"12\">\n\
         <title>Pod network of {}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fcfcfa\"/>\n{node}{drawing}</svg>\n",
        escaped(&title)
    )
}

fn groups(picture: &Picture) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    for uplink in &picture.uplinks {
        let name = uplink.what();
        let mut lines = vec![format!("{name} {}", uplink.name)];
        lines.extend(uplink.addresses.iter().cloned());
        lines.extend(uplink.gateways.iter().map(|gateway| format!("default via {gateway}")));
        groups.push(Group { lines, fill: "#ffffff", pods: &[] });
    }
    for bridge in &picture.bridges {
        let mut lines = vec![format!("bridge {}{}", bridge.name, if bridge.is_up { "" } else { "  DOWN" })];
        lines.extend(bridge.addresses.iter().cloned());
        lines.extend(bridge.gateways.iter().map(|gateway| format!("default via {gateway}")));
        lines.extend(bridge.networks.iter().map(|network| format!("network {network}")));
        lines.extend(bridge.ports.iter().map(|port| format!("port {port}")));
        groups.push(Group { lines, fill: "#dbe9f6", pods: &bridge.pods });
    }
    for (line, pods) in [("links of their own", &picture.beside), ("no interface on the node", &picture.without)] {
        if !pods.is_empty() {
            groups.push(Group { lines: vec![line.to_owned()], fill: "#ffffff", pods });
        }
    }
    groups
}

/// What is in a pod's box.
fn lines(pod: &Pod) -> Vec<String> {
    let mut lines = vec![pod.place()];
    if !pod.addresses.is_empty() {
        lines.push(pod.addresses.join(", "));
    }
    lines.extend(pod.details());
    lines.iter().flat_map(|line| broken(line)).collect()
}

/// A line in parts of at most [`LONGEST`] characters, broken at blanks where there are any.
fn broken(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in line.split(' ') {
        let Some(last) = parts.last_mut() else { break };
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > LONGEST {
            parts.push(format!("  {word}"));
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    parts
}

fn colour(pod: &Pod) -> &'static str {
    match pod.verdict {
        Some(Verdict::Alive) => "#e4f3e4",
        Some(Verdict::Dead) => "#f9dcdc",
        Some(Verdict::Unknown) => "#fbf0cf",
        None => "#ffffff",
    }
}

/// The line of a pair, with the name of the node's end where it leaves the node.
fn connect(drawing: &mut String, from: f64, to: f64, y: f64, (name_x, name): (f64, &str)) {
    // Writing to a String cannot fail.
    let _ = writeln!(drawing, "<line x1=\"{from:.1}\" y1=\"{y:.1}\" x2=\"{to:.1}\" y2=\"{y:.1}\" stroke=\"#5b6b7c\"/>");
    write_text(drawing, (name_x + GAP, y - 4.0), name, false);
}

fn boxed(drawing: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str, lines: &[String]) {
    let _ = writeln!(
        drawing,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\" fill=\"{fill}\" stroke=\"#8a97a6\"/>"
    );
    let mut line_y = y + PADDING + LINE - 5.0;
    for (index, line) in lines.iter().enumerate() {
        write_text(drawing, (x + PADDING, line_y), line, index == 0);
        line_y += LINE;
    }
}

fn write_text(drawing: &mut String, (x, y): (f64, f64), text: &str, is_bold: bool) {
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    let _ =
        writeln!(drawing, "<text x=\"{x:.1}\" y=\"{y:.1}\"{weight} xml:space=\"preserve\">{}</text>", escaped(text));
}

/// As wide as the longest line wants its box.
fn width<'a>(lines: impl IntoIterator<Item = &'a String>) -> f64 {
    let longest = lines.into_iter().map(|line| line.chars().count()).max().unwrap_or(0);
    CHARACTER * characters(longest) + 2.0 * PADDING
}

fn height(lines: usize) -> f64 {
    LINE * characters(lines) + 2.0 * PADDING
}

/// Nobody looks at a picture in which this is not exact.
fn characters(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Text between tags or in an attribute (XML 1.0, section 2.4).
fn escaped(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_everything_is_there() {
        let drawing = draw(&super::super::text::tests::node());
        assert!(drawing.contains("eth0 in b&lt;&amp;&gt;&quot;\u{fffd}[2J<"), "{drawing}");
        for text in
            ["node worker", "bridge cni0", "10.1.0.1/24", "veth221f94103cb", "host port tcp 8080 → 80", "✗ dead: "]
        {
            assert!(drawing.contains(text), "{text} is not in:\n{drawing}");
        }
        assert_eq!(drawing.matches("<line ").count(), 3, "a line for each pair:\n{drawing}");
        assert_eq!(drawing.matches("<rect ").count(), 2 + 4 + 4, "background, node, four on the left, four pods");
    }

    #[test]
    fn long_lines_are_broken_at_blanks() {
        let words = "word ".repeat(30);
        let parts = broken(words.trim());
        assert!(parts.len() > 1 && parts.iter().all(|part| part.chars().count() <= LONGEST), "{parts:?}");
        assert_eq!(parts.join(" ").split_whitespace().count(), 30);
        assert_eq!(broken(&"x".repeat(100)).len(), 1);
    }

    #[test]
    fn nothing_overlaps_and_everything_is_inside() {
        let drawing = draw(&super::super::text::tests::node());
        let number = |tag: &str, name: &str| -> f64 {
            let (_, rest) = tag.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let root = drawing.lines().find(|line| line.starts_with("<svg ")).unwrap();
        let (width, height) = (number(root, "width"), number(root, "height"));
        let rects = drawing.lines().filter(|line| line.starts_with("<rect x="));
        let boxes: Vec<_> = rects.map(|tag| ["x", "y", "width", "height"].map(|name| number(tag, name))).collect();
        assert!(boxes.iter().all(|[x, y, w, h]| x + w <= width && y + h <= height), "{drawing}");
        // The first is the node, around those on the left.
        let apart = |a: &[f64; 4], b: &[f64; 4]| {
            a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1]
        };
        for (index, a) in boxes.iter().enumerate().skip(1) {
            assert!(boxes.iter().skip(index + 1).all(|b| apart(a, b)), "{a:?} overlaps:\n{drawing}");
        }
    }
}
