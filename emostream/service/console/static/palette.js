/** The colours that stand for emotions, as in annotated videos; and ink that can be read on them. */

const DARK = "#191919";
const LIGHT = "#ffffff";

let colours = { emotions: {}, other: "#56b4e9", unknown: "#707070" };

/** Ask the service for the colours, once. */
export async function loadPalette() {
  const response = await fetch(new URL("console/palette.json", document.baseURI));
  if (response.ok) colours = await response.json();
}

let ofModel = new Map(); // its classes of other names → their colours

/** Tell the classes of the model whose faces are drawn next; those of other names get the colours that are left over. */
export function useLabels(labels) {
  const left = [colours.other, ...Object.entries(colours.emotions).filter(([name]) => !labels.includes(name)).map(([, colour]) => colour)];
  const others = labels.filter((name) => !Object.hasOwn(colours.emotions, name));
  ofModel = new Map(others.map((name, index) => [name, left[index % left.length]]));
}

/** The colour of an emotion, of a class of the model in use, or of `unknown`. */
export function colourOf(emotion) {
  if (emotion === "unknown") return colours.unknown;
  return Object.hasOwn(colours.emotions, emotion) ? colours.emotions[emotion] : ofModel.get(emotion) ?? colours.other;
}

/** Dark or light, whichever stands out more from a colour `#rrggbb`. */
export const inkOn = (colour) => (luminance(colour) > 0.18 ? DARK : LIGHT);

/** Relative luminance (WCAG 2.2), 0 to 1. */
function luminance(colour) {
  const [red, green, blue] = [1, 3, 5].map((start) => {
    const level = parseInt(colour.slice(start, start + 2), 16) / 255;
    return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
