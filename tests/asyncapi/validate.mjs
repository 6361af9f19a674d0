// Reads an AsyncAPI document from standard input, and prints what AsyncAPI's own parser finds wrong with it: a line each,
// nothing when it is right. The parser is in node_modules of the directory that the first argument names.
import { createRequire } from "node:module";
import { join } from "node:path";
import { text } from "node:stream/consumers";

const require = createRequire(join(process.argv[2], "package.json"));
const { Parser } = require("@asyncapi/parser");

const { document, diagnostics } = await new Parser().parse(await text(process.stdin));
const errors = diagnostics.filter((it) => it.severity === 0);
for (const { code, path, message } of errors) {
    console.log(`${path.join("/")}: ${message} (${code})`);
}
if (document === undefined && errors.length === 0) {
    console.log("it is no AsyncAPI document");
}
