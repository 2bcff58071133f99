"use strict";
// rsop, the Stateless OpenPGP Interface on rPGP. It has one code for everything that it can't decrypt.

const { CODE } = require("../sop.js");
const { sopCases } = require("../sop_cases.js");

sopCases("rsop", { altered: CODE.unspecified, alteredV1: CODE.unspecified, foreign: CODE.unspecified });
