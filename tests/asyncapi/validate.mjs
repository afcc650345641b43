// Reads an AsyncAPI document on stdin; prints the parser's errors and warnings, one a line; exits 1 on any error.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;
const WARNING = 1;

const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
for (const { severity, message, path } of diagnostics.filter(({ severity }) => severity <= WARNING)) {
  console.log(`${severity === ERROR ? "error" : "warning"} ${path.join("/")}: ${message}`);
}
process.exit(document && !diagnostics.some(({ severity }) => severity === ERROR) ? 0 : 1);
