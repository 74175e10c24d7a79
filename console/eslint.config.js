import svelte from "eslint-plugin-svelte";
import tseslint from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

// What could turn text of others into HTML or into code is an error: names, labels and logs are shown as text, and as nothing else.
const unsafe = [
  "innerHTML", "outerHTML", "insertAdjacentHTML", "createContextualFragment", "parseFromString", "srcdoc", "setHTMLUnsafe",
].map((name) => ({ selector: `MemberExpression[property.name='${name}']`, message: `${name} makes HTML of text: show it as text` }));

export default tseslint.config(
  { ignores: ["node_modules"] },
  ...tseslint.configs.strict,
  ...svelte.configs["flat/recommended"],
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: tseslint.parser, extraFileExtensions: [".svelte"], svelteConfig } },
  },
  {
    rules: {
      "no-eval": "error",
      "no-new-func": "error",
      "no-console": "error",
      "no-undef": "off", // the compiler knows
      "no-restricted-syntax": ["error", ...unsafe],
      "svelte/no-at-html-tags": "error",
      "svelte/require-each-key": "error",
      "svelte/no-navigation-without-resolve": "off", // of SvelteKit
    },
  },
);
