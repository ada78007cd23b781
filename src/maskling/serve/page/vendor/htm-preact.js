/* Preact 10.29.8 with hooks and htm 3.1.1, as published on npm. Changed: hooks.module.js imports ./preact.module.js, and
   the lines that name source maps were removed. The Preact in htm's own bundle, of 2021, put siblings in the wrong order
   when the last of several roots of a component disappeared. */
import htm from "./htm.module.js";
import { h } from "./preact.module.js";

export { Component, createContext, h, render } from "./preact.module.js";
export { useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./hooks.module.js";
export const html = htm.bind(h);
