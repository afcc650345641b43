// Reads links on stdin, one a line; prints "valid" or "invalid" for each, by the ABNF of the GS1 Digital Link Standard.
import { readFileSync } from "node:fs";
import library from "digital-link.js";

for (const link of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  console.log(library.DigitalLink(link).isValid() ? "valid" : "invalid");
}
