"use strict";
// sqop, the Stateless OpenPGP Interface on Sequoia.

const { CODE } = require("../sop.js");
const { sopCases } = require("../sop_cases.js");

sopCases("sqop", { altered: CODE.cannotDecrypt, alteredV1: CODE.badData, foreign: CODE.cannotDecrypt });
